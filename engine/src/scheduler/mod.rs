//! Requests of many clients, evaluated by all devices at once.
//!
//! A *request* is one or more encrypted inputs of one key. Requests wait in a backlog by key, and *lanes* take them
//! from there whenever they are free: what one device does not get done, another one takes (work stealing). A device
//! has two lanes, where it can, whose passes run side by side: while one waits for the end of a small step, for an
//! upload or for a download, the other one has work for the device. So steps of different layers, of different inputs
//! and of different keys fill it together.
//!
//! Requests of one key share a pass where the scheme lets them. Keys are loaded when they are first needed, and the
//! least recently used ones make room. A request whose pass failed is tried again by itself, twice where the device was
//! at fault; a device that keeps failing is left.

mod backlog;
mod fleet;
mod lanes;
mod passes;
mod requests;
mod station;
mod timeline;

pub use fleet::{Fleet, Limits};
pub use requests::{Answer, Answers, Course, Keys, Request, Requests};
pub use timeline::{Simulated, Span, Timeline};
