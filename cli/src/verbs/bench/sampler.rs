//! Clocks and energy, sampled while something runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::figures::{Unit, single};
use super::machine::{clocks_mhz, nvidia, package_energy_uj};

/// Time between two samples.
const PERIOD: Duration = Duration::from_millis(500);

/// What the samples add up to.
#[derive(Default)]
struct Sums {
    clocks: Clocks,
    gpu_clocks: Clocks,
    gpu_joules: f64,
    gpu_memory_mib: f64,
    has_gpu: bool,
}

/// Clocks in MHz.
#[derive(Default)]
struct Clocks {
    count: f64,
    sum: f64,
    range: Option<(f64, f64)>,
}

impl Clocks {
    fn add(&mut self, clock: f64) {
        self.count += 1.0;
        self.sum += clock;
        let (low, high) = self.range.unwrap_or((clock, clock));
        self.range = Some((low.min(clock), high.max(clock)));
    }

    fn json(&self) -> Value {
        let Some((low, high)) = self.range else { return Value::Null };
        json!({ "mean": self.sum / self.count, "least": low, "most": high })
    }
}

/// Runs work, and says what was sampled meanwhile; NVIDIA's devices are asked only where they do the work.
pub fn sampled<R>(on_nvidia: bool, work: impl FnOnce() -> R) -> (R, Value) {
    let is_over = AtomicBool::new(false);
    let (done, wait) = mpsc::channel::<()>();
    let before = package_energy_uj();
    let (result, sums) = std::thread::scope(|scope| {
        let is_over = &is_over;
        let sampling = scope.spawn(move || sample(on_nvidia, is_over, &wait));
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        drop(done);
        (result, sampling.join().unwrap_or_default())
    });
    let after = package_energy_uj();
    let used = |((before, most), (after, _)): (&(f64, f64), &(f64, f64))| {
        if after < before { after + most - before } else { after - before }
    };
    let joules = before.iter().zip(&after).map(used).sum::<f64>() * 1e-6;
    let measured = |there: bool, value: f64, unit| if there { single(value, unit) } else { Value::Null };
    let object = json!({
        "cpu_clock_mhz": sums.clocks.json(),
        "cpu_energy": measured(!before.is_empty(), joules, Unit::Joules),
        "gpu_clock_mhz": sums.gpu_clocks.json(),
        "gpu_energy": measured(sums.has_gpu, sums.gpu_joules, Unit::Joules),
        "gpu_memory": measured(sums.has_gpu, sums.gpu_memory_mib * 1_048_576.0, Unit::Bytes),
    });
    (result, object)
}

fn sample(on_nvidia: bool, is_over: &AtomicBool, wait: &mpsc::Receiver<()>) -> Sums {
    let (mut sums, mut last) = (Sums::default(), Instant::now());
    loop {
        clocks_mhz().into_iter().for_each(|clock| sums.clocks.add(clock));
        let gpus = if on_nvidia { nvidia("clocks.sm,power.draw,memory.used") } else { None };
        let spent = last.elapsed().as_secs_f64();
        last = Instant::now();
        let mut memory = 0.0;
        for gpu in gpus.iter().flatten() {
            let number = |at: usize| gpu.get(at).and_then(|cell| cell.parse::<f64>().ok());
            if let Some(clock) = number(0) {
                sums.gpu_clocks.add(clock);
            }
            if let Some(watts) = number(1) {
                sums.gpu_joules += watts * spent;
                sums.has_gpu = true;
            }
            memory += number(2).unwrap_or(0.0);
        }
        sums.gpu_memory_mib = sums.gpu_memory_mib.max(memory);
        // The channel closes when the work is done.
        if is_over.load(Ordering::Relaxed) || wait.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
            return sums;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_done_and_what_is_not_known_is_null() {
        let (result, object) = sampled(false, || 7);
        assert_eq!(result, 7);
        assert_eq!(object["gpu_energy"], Value::Null);
        let clock = &object["cpu_clock_mhz"];
        assert!(clock.is_null() || clock["least"].as_f64() <= clock["most"].as_f64(), "{clock}");
    }
}
