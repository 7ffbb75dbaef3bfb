//! Compiles a loop for every instruction set and picks one at run time.

/// Defines `fn $name(arch, …)`, which runs `$body(…)` (an `#[inline(always)]` function) compiled for the given
/// [`pulp::Arch`].
///
/// Closures are not inlined into a function with target features reliably; named functions are.
macro_rules! for_each_arch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $body:path, ($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "the arguments of the loop it stands for")]
        $vis fn $name(arch: pulp::Arch, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn v4($($arg: $ty),*) {
                $body($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn v3($($arg: $ty),*) {
                $body($($arg),*);
            }
            match arch {
                // SAFETY: pulp hands out `V4` and `V3` only after it found these features on this processor.
                #[cfg(target_arch = "x86_64")]
                pulp::Arch::V4(_) => unsafe { v4($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                pulp::Arch::V3(_) => unsafe { v3($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    };
}

pub(crate) use for_each_arch;

/// Every instruction set that this processor has, for tests.
#[cfg(test)]
pub(crate) fn every() -> Vec<pulp::Arch> {
    let mut archs = vec![pulp::Arch::Scalar, pulp::Arch::new()];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(pulp::Arch::V3));
    archs
}
