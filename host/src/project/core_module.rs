//! From the core module that a compiler makes to a component.

use std::path::Path;

use wasm_encoder::{Module, RawSection};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::ProjectError;

/// The module that speaks WASI 0.1 to its inside and WASI 0.2 to its outside.
/// Go's runtime calls a function that adapters before 50 lack.
const ADAPTER: &[u8] =
    wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
const ADAPTER_NAME: &str =
    wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;

/// Makes a component of a core module built for `wasm32-wasip1`, whose imports
/// and exports are those of `world` in the WIT package `wit`.
pub fn component(core: &[u8], wit: &Path, world: &str) -> Result<Vec<u8>, ProjectError> {
    encode(core, wit, world).map_err(|error| {
        ProjectError::Result(format!(
            "what the compiler made is no task: {error:#} (is the SDK's own code part of it, and does the \
             project use the SDK of this version of tigerflow-host?)"
        ))
    })
}

fn encode(core: &[u8], wit: &Path, world: &str) -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut module = without_debug_data(core)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .module(&module)?
        .adapter(ADAPTER_NAME, ADAPTER)?
        .validate(true)
        .encode()
}

/// DWARF, of a C library mostly, is ten times the code; the names of functions
/// stay, for backtraces.
fn without_debug_data(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload
            && section.name().starts_with(".debug")
        {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &core[range] });
        }
    }
    Ok(module.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::CustomSection;

    #[test]
    fn only_debug_data_goes() {
        let mut module = Module::new();
        for (name, data) in [(".debug_info", "much"), ("name", "names"), (".debug_line", "more")] {
            module.section(&CustomSection { name: name.into(), data: data.as_bytes().into() });
        }
        let stripped = without_debug_data(&module.finish()).unwrap();
        let mut expected = Module::new();
        expected.section(&CustomSection { name: "name".into(), data: b"names".into() });
        assert_eq!(stripped, expected.finish());
        assert!(without_debug_data(b"no module").is_err());
    }
}
