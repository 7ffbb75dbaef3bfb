//! Devices as users name them.

use std::str::FromStr;

/// Devices as users name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The one with the least predicted time.
    Auto,
    /// The host.
    Cpu,
    /// CUDA devices, each as often as it is to have a queue of its own.
    Cuda(Vec<usize>),
    /// A wgpu adapter.
    Wgpu(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, numbers) = text.split_once(':').unwrap_or((text, "0"));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no device number"));
        match kind {
            "auto" if !text.contains(':') => Ok(Self::Auto),
            "cpu" if !text.contains(':') => Ok(Self::Cpu),
            "cuda" => numbers.split(',').map(number).collect::<Result<_, _>>().map(Self::Cuda),
            "wgpu" => number(numbers).map(Self::Wgpu),
            _ => Err("expected auto, cpu, cuda[:N[,N]...] or wgpu[:N]".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse() {
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(vec![0])));
        assert_eq!("cuda:2,0,0".parse(), Ok(DeviceChoice::Cuda(vec![2, 0, 0])));
        assert!("cuda:".parse::<DeviceChoice>().is_err() && "cuda:1,".parse::<DeviceChoice>().is_err());
        assert_eq!("cpu".parse(), Ok(DeviceChoice::Cpu));
        assert!("cpu:1".parse::<DeviceChoice>().is_err() && "gpu".parse::<DeviceChoice>().is_err());
    }
}
