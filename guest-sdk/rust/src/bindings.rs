//! What wit-bindgen makes of `wit/`: the world `task-component`.

wit_bindgen::generate!({
    path: "wit",
    world: "task-component",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "tigerflow_task::bindings",
});
