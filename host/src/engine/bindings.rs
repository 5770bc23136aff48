//! Rust's side of `wit/`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "task-component",
    exports: { default: async },
});

/// The world of asynchronous tasks. What both share is one and the same type.
pub mod concurrent {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "async-task-component",
        exports: { default: async },
        with: {
            "tigerflow:task/types": super::tigerflow::task::types,
            "tigerflow:task/report": super::tigerflow::task::report,
        },
    });
}

/// The world of staging steps.
pub mod staging {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "stage-component",
        exports: { default: async },
        with: {
            "tigerflow:task/types": super::tigerflow::task::types,
            "tigerflow:task/report": super::tigerflow::task::report,
        },
    });
}
