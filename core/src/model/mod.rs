//! What a model is: affine rows and functions, no scheme.

pub mod client_decision;
pub mod client_op;
pub mod client_run;
pub mod columns;
pub mod decoding;
pub mod erf;
pub mod function;
pub mod growth;
pub mod kink;
pub mod lines;
pub mod network;
pub mod postfix;
pub mod row_sum;
pub mod rows;
