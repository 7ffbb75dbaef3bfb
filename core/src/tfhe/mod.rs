//! TFHE: integer linear maps and a table a bootstrap.
//!
//! Source: Chillotti, Gama, Georgieva, Izabachene, J. Cryptology 2020.

pub mod cost;
pub mod cpu;
pub mod exact;
pub mod files;
pub mod noise;
pub mod ops;
pub mod params;
pub mod plan;
pub mod planner;
pub mod schedule;
pub mod session;
pub mod table_set;
pub mod torus;
