//! Devices by name: the one place that names backends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, Tensor};

/// A backend that this source can be compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The first word of a device name.
    pub name: &'static str,
    /// The cargo feature that compiles it in; none for the embedded one.
    pub feature: Option<&'static str>,
    /// Whether it is compiled in.
    pub available: bool,
    /// The device names that it answers to.
    pub devices: &'static str,
}

/// Every backend, compiled in or not.
pub const BACKENDS: [Backend; 5] = [
    Backend { name: "flex", feature: None, available: true, devices: "flex" },
    Backend { name: "tch", feature: Some("tch"), available: cfg!(feature = "tch"), devices: "tch, tch:cuda:N" },
    Backend {
        name: "wgpu",
        feature: Some("wgpu"),
        available: cfg!(feature = "wgpu"),
        devices: "wgpu, wgpu:N, wgpu:integrated:N, wgpu:cpu",
    },
    Backend {
        name: "vulkan",
        feature: Some("vulkan"),
        available: cfg!(feature = "vulkan"),
        devices: "vulkan, vulkan:N",
    },
    Backend { name: "cuda", feature: Some("cuda"), available: cfg!(feature = "cuda"), devices: "cuda, cuda:N" },
];

/// Why a device cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceProblem {
    /// No backend has that name.
    #[error("`{0}` is not a device; devices are {names}", names = names())]
    Unknown(String),
    /// The backend is not compiled in.
    #[error("the device `{device}` is not compiled in; build with `--features {feature}`")]
    NotCompiledIn {
        /// The device that was asked for.
        device: String,
        /// The cargo feature to add.
        feature: &'static str,
    },
    /// The device does not answer.
    #[error("the device `{device}` does not answer: {reason}")]
    Unavailable {
        /// The device that was asked for.
        device: String,
        /// What the driver said.
        reason: String,
    },
}

fn names() -> String {
    let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.devices).collect();
    names.join(", ")
}

/// Opens a device by its name and lets it compute something.
///
/// # Errors
/// See [`DeviceProblem`].
pub fn open(name: &str) -> Result<Device, DeviceProblem> {
    let device = parse(name)?;
    let answer = catch_unwind(AssertUnwindSafe(|| {
        Tensor::<1>::ones([2], &device).sum().try_into_scalar::<f32>().map_err(|error| error.to_string())
    }));
    let reason = match answer {
        Ok(Ok(2.0)) => return Ok(device),
        Ok(Ok(sum)) => format!("it says that 1 + 1 is {sum}"),
        Ok(Err(reason)) => reason,
        Err(panic) => crate::panic_message(&*panic),
    };
    Err(DeviceProblem::Unavailable { device: name.to_owned(), reason })
}

fn parse(name: &str) -> Result<Device, DeviceProblem> {
    let mut words = name.split(':');
    let backend = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let unknown = || DeviceProblem::Unknown(name.to_owned());
    let known = BACKENDS.iter().find(|known| known.name == backend).ok_or_else(unknown)?;
    if let (false, Some(feature)) = (known.available, known.feature) {
        return Err(DeviceProblem::NotCompiledIn { device: name.to_owned(), feature });
    }
    device(backend, &rest).ok_or_else(unknown)
}

fn device(backend: &str, rest: &[&str]) -> Option<Device> {
    match backend {
        "flex" if rest.is_empty() => Some(Device::flex()),
        #[cfg(feature = "tch")]
        #[expect(deprecated, reason = "the last release of burn with LibTorch")]
        "tch" => match rest {
            [] => Some(Device::libtorch()),
            ["cuda", number] => Some(Device::libtorch_cuda(number.parse::<usize>().ok()?)),
            _ => None,
        },
        #[cfg(feature = "wgpu")]
        "wgpu" => wgpu_kind(rest).map(Device::wgpu),
        #[cfg(feature = "vulkan")]
        "vulkan" => wgpu_kind(rest).map(Device::vulkan),
        #[cfg(feature = "cuda")]
        "cuda" => match rest {
            [] => Some(Device::cuda(0)),
            [number] => Some(Device::cuda(number.parse::<usize>().ok()?)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
fn wgpu_kind(rest: &[&str]) -> Option<burn::tensor::DeviceKind> {
    use burn::tensor::DeviceKind;
    match rest {
        [] => Some(DeviceKind::DefaultDevice),
        ["cpu"] => Some(DeviceKind::Cpu),
        ["integrated", number] => number.parse().ok().map(DeviceKind::IntegratedGpu),
        [number] => number.parse().ok().map(DeviceKind::DiscreteGpu),
        _ => None,
    }
}

/// The device of LibTorch that a device stands for; none where it is not of LibTorch.
#[cfg(feature = "tch")]
#[expect(deprecated, reason = "the last release of burn with LibTorch")]
pub fn libtorch(device: &Device) -> Option<tch::Device> {
    if *device == Device::libtorch() {
        return Some(tch::Device::Cpu);
    }
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    (0..count).find(|&number| *device == Device::libtorch_cuda(number)).map(tch::Device::Cuda)
}

/// How many threads each computation may use on a device that is the processor itself. Changes no number.
///
/// `flex` takes them from the thread pool that it is called in, so that only LibTorch has to be told.
pub fn set_threads(_threads: usize) {
    #[cfg(feature = "tch")]
    tch::set_num_threads(i32::try_from(_threads).unwrap_or(i32::MAX));
}

/// The class of a device for cell keys: what can change the last bit of a number.
pub fn class(name: &str, device: &Device) -> String {
    let backend = name.split(':').next().unwrap_or(name);
    match backend {
        "flex" | "tch" if !name.contains("cuda") => format!("{backend}/{}", instruction_set()),
        _ => format!("{backend}/{}", accelerator(device)),
    }
}

/// The accelerator's own name and what kernels are compiled for, where its backend tells.
fn accelerator(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
    if let Some(identity) = device.identity() {
        return format!("{} {}", identity.name, identity.fingerprint);
    }
    format!("{device:?}")
}

/// The processor's architecture and the vector extensions that kernels choose between.
fn instruction_set() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let extensions = [
            ("fma", is_x86_feature_detected!("fma")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        let found: Vec<&str> = extensions.iter().filter(|(_, found)| *found).map(|(name, _)| *name).collect();
        format!("x86_64+{}", found.join("+"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH.to_owned()
    }
}
