//! What a device can do at most.

/// What the device can do at most, from its data sheet's counts a clock and the clock that the driver reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Double-precision instructions a second, a fused multiply-add being one.
    pub doubles: f64,
    /// 32-bit integer multiply-adds a second.
    pub words: f64,
    /// 8-bit integer multiply-adds a second on the tensor cores.
    pub bytes: f64,
}

impl Rates {
    /// Of a device with so many multiprocessors, at a clock.
    ///
    /// Source: CUDA C++ programming guide, throughput of arithmetic instructions; tensor core rates of NVIDIA's data
    /// sheets.
    #[must_use]
    pub fn new(multiprocessors: usize, clock_hz: f64, compute_capability: (i32, i32)) -> Self {
        let clocks = multiprocessors as f64 * clock_hz;
        let (doubles, bytes) = match compute_capability {
            (8, 0) => (32.0, 2048.0),
            (9, 0) => (64.0, 4096.0),
            (10, 0) => (64.0, 8192.0),
            _ => (2.0, 1024.0),
        };
        Self { doubles: clocks * doubles, words: clocks * 64.0, bytes: clocks * bytes }
    }
}
