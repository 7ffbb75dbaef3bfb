//! WGSL sources are sound, every graphics interface's own language can say them, and their parameter blocks are those of
//! the host; no device is needed to tell.

use heman_kernels::wgsl::{LWE_SHADERS, RNS_SHADERS, RotationShape, Shader, Variant, WideProducts, rns_constants};
use heman_kernels::{
    BOOTSTRAP_SHAPES, LweBootstrapParams, LweKeyswitchParams, LweLinearParams, RnsInnerProductParams, RnsMasksParams,
    RnsMatrixParams, RnsPermuteParams, RnsTensorParams, RnsTransformParams, RnsWordsParams,
};
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, TypeInner};

/// Bytes of immediate data of any kernel.
const MOST_IMMEDIATE_BYTES: u32 = 64;
/// Bytes of workgroup storage of any kernel.
const MOST_WORKGROUP_BYTES: u32 = 16 << 10;

fn parsed(shader: &Shader, variant: Variant, constants: &[(&str, u32)]) -> Module {
    let text = shader.text(variant, constants);
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|error| panic!("{}: {}", shader.name, error.emit_to_string(&text)));
    let mut capabilities = Capabilities::IMMEDIATES;
    if variant.wide == WideProducts::Words64 {
        capabilities |= Capabilities::SHADER_INT64;
    }
    if variant.subgroups {
        capabilities |= Capabilities::SUBGROUP;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    let info = info.unwrap_or_else(|error| panic!("{}: {}", shader.name, error.emit_to_string(&text)));
    translate(shader.name, &module, &info);
    let mut entries: Vec<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
    let mut expected = shader.entries.to_vec();
    entries.sort_unstable();
    expected.sort_unstable();
    assert_eq!(entries, expected, "{}", shader.name);
    for (at, entry) in module.entry_points.iter().enumerate() {
        let threads: u32 = entry.workgroup_size.iter().product();
        assert!((1..=256).contains(&threads), "{}: {threads} threads", entry.name);
        let own = info.get_entry_point(at);
        let of_workgroup = module
            .global_variables
            .iter()
            .filter(|(handle, global)| global.space == AddressSpace::WorkGroup && !own[*handle].is_empty());
        let bytes: u32 = of_workgroup.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= MOST_WORKGROUP_BYTES, "{}: {bytes} bytes of workgroup storage", entry.name);
    }
    module
}

/// A module in the languages of Vulkan, DirectX 12 and Metal.
fn translate(name: &str, module: &Module, info: &ModuleInfo) {
    let spirv = spv::write_vec(module, info, &spv::Options { lang_version: (1, 3), ..spv::Options::default() }, None);
    assert!(spirv.is_ok_and(|words| !words.is_empty()), "{name} in SPIR-V");
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_4,
        immediates_target: Some(hlsl::BindTarget::default()),
        ..hlsl::Options::default()
    };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default()).write(module, info, None);
    assert!(written.is_ok(), "{name} in HLSL: {:?}", written.err());
    let options = msl::Options { lang_version: (2, 4), ..msl::Options::default() };
    let written = msl::write_string(module, info, &options, &msl::PipelineOptions::default());
    assert!(written.is_ok(), "{name} in MSL: {:?}", written.err());
}

/// Rings that the planner takes, with every kind of batching of their columns.
fn shapes() -> impl Iterator<Item = RotationShape> {
    let more = [(256, 8), (512, 8), (1024, 4), (2048, 2), (2048, 3), (4096, 1), (4096, 2)];
    let known = BOOTSTRAP_SHAPES.iter().map(|shape| (shape.polynomial_size, shape.glwe_dimension));
    known.chain(more).map(|(size, k)| RotationShape::new(size, k))
}

fn all(mut see: impl FnMut(&Shader, Module)) {
    for variant in Variant::ALL {
        for shader in &RNS_SHADERS {
            see(shader, parsed(shader, variant, &rns_constants()));
        }
        for shader in &LWE_SHADERS {
            for shape in shapes() {
                see(shader, parsed(shader, variant, &shape.constants()));
            }
        }
    }
}

#[test]
fn every_source_is_sound_and_within_the_least_limits() {
    let mut count = 0;
    all(|shader, module| {
        count += 1;
        for (_, global) in module.global_variables.iter().filter(|(_, g)| g.space == AddressSpace::Immediate) {
            let bytes = module.types[global.ty].inner.size(module.to_ctx());
            assert!(bytes <= MOST_IMMEDIATE_BYTES, "{}: {bytes} bytes of immediate data", shader.name);
        }
    });
    assert!(count > 50, "{count}");
}

/// Bytes of a struct of a source, all of whose members are words.
fn struct_bytes(module: &Module, name: &str) -> Option<u32> {
    let (_, found) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name))?;
    let TypeInner::Struct { members, span } = &found.inner else { panic!("{name} is a struct") };
    for (at, member) in members.iter().enumerate() {
        assert_eq!(member.offset, 4 * at as u32, "{name}: words without gaps");
    }
    Some(*span)
}

#[test]
fn parameter_blocks_are_those_of_the_host() {
    let blocks = [
        ("LweLinearParams", size_of::<LweLinearParams>()),
        ("LweKeyswitchParams", size_of::<LweKeyswitchParams>()),
        ("LweBootstrapParams", size_of::<LweBootstrapParams>()),
        ("RnsTransformParams", size_of::<RnsTransformParams>()),
        ("RnsWordsParams", size_of::<RnsWordsParams>()),
        ("RnsTensorParams", size_of::<RnsTensorParams>()),
        ("RnsInnerProductParams", size_of::<RnsInnerProductParams>()),
        ("RnsMatrixParams", size_of::<RnsMatrixParams>()),
        ("RnsMasksParams", size_of::<RnsMasksParams>()),
        ("RnsPermuteParams", size_of::<RnsPermuteParams>()),
    ];
    let mut found = [0; 10];
    all(|_, module| {
        for ((name, bytes), found) in blocks.iter().zip(&mut found) {
            if let Some(of_source) = struct_bytes(&module, name) {
                assert_eq!(of_source as usize, *bytes, "{name}");
                *found += 1;
            }
        }
    });
    assert!(found.iter().all(|&count| count > 0), "every block stands in a source: {found:?}");
}
