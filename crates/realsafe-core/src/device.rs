//! Devices by name: the one place that names backends.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The numbers of rows that networks are called with, ascending; whoever has others fills them up or cuts them into pieces.
///
/// What a row comes to must not depend on how many others there are. On `flex` it does not, whatever their number, and small pieces
/// divide well among processors. LibTorch's kernels on processors choose their ways by the number of rows, so there is one
/// number only. On graphics processors large ones are needed.
pub(crate) fn row_counts(device: &Device) -> &'static [usize] {
    match () {
        () if *device == Device::flex() => &[8, 16, 32],
        () if is_libtorch_on_processors(device) => &[16],
        () => &[8, 16, 32, 64, 128],
    }
}

/// Whether it is the processor itself that computes, on the threads that call.
pub(crate) fn is_processor(device: &Device) -> bool {
    *device == Device::flex() || is_libtorch_on_processors(device)
}

/// Whether LibTorch computes on processors, whose kernels mind where numbers lie in memory.
#[cfg_attr(feature = "tch", expect(deprecated, reason = "the last release of burn with LibTorch"))]
pub(crate) fn is_libtorch_on_processors(_device: &Device) -> bool {
    #[cfg(feature = "tch")]
    return *_device == Device::libtorch();
    #[cfg(not(feature = "tch"))]
    false
}

/// The weights of convolutions, laid out in memory as the device convolves fastest; their numbers stay.
///
/// LibTorch on processors takes over their layout for everything that follows from them, and is faster with channels behind height
/// and width.
pub fn convolution_weights<const D: usize>(weights: Tensor<D>) -> Tensor<D> {
    if D != 4 || !is_libtorch_on_processors(&weights.device()) {
        return weights;
    }
    let moved = weights.movedim(1, 3);
    let dims = moved.dims();
    // Through a flat tensor, because only that moves numbers in memory.
    moved.reshape([dims.iter().product::<usize>()]).reshape::<D, _>(dims).movedim(3, 1)
}

/// Lets LibTorch compute on the threads that call it alone: how it divides a computation decides the last bits, and pieces of a
/// batch divide better.
pub fn compute_on_calling_threads() {
    #[cfg(feature = "tch")]
    tch::set_num_threads(1);
}

/// Seeds the generator that initial weights and dropout draw from, and keeps it from other runs of training as long as the guard
/// lives: a backend has one per process.
pub fn seeded(device: &Device, seed: u64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    guard
}

/// LibTorch in the version that burn is built against, and how weights are laid out for it.
const LIBTORCH: &str = "tch/2.9.0/channels-last";

/// The class of a device for cell keys: what can change the last bit of a number.
pub fn class(name: &str, device: &Device) -> String {
    let backend = name.split(':').next().unwrap_or(name);
    let hardware = match backend {
        "flex" => format!("{backend}/{}", instruction_set()),
        "tch" if !name.contains("cuda") => format!("{LIBTORCH}/{}", instruction_set()),
        "tch" => format!("{LIBTORCH}/{}", nvidia()),
        _ => format!("{backend}/{}", accelerator(device)),
    };
    format!("{hardware}/rows {:?}", row_counts(device))
}

/// The accelerator's own name and what kernels are compiled for, where its backend tells.
fn accelerator(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
    if let Some(identity) = device.identity() {
        return format!("{} {}", identity.name, identity.fingerprint);
    }
    format!("{device:?}")
}

/// The models of NVIDIA's processors in this machine, as their driver on Linux names them; LibTorch does not tell.
fn nvidia() -> String {
    let information = glob::glob("/proc/driver/nvidia/gpus/*/information").into_iter().flatten().flatten();
    let model = |path| {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Model:").map(|model| model.trim().to_owned()))
    };
    let models: BTreeSet<String> = information.filter_map(model).collect();
    format!("cuda {}", Vec::from_iter(models).join(", "))
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
