//! Rust's side of `wit/`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "task-component",
    exports: { default: async },
});
