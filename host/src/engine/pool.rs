//! Room that is kept for fresh instances, where each file has one of its own: memory
//! that was given back is used again, which spares the kernel most of its work.

use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Most instances for which room is kept. For more, each is made from nothing: the
/// address space has an end.
const MOST: u32 = 1_000;

/// Instances beside those at work: one that describes the task, and one that a
/// successor does not wait for.
const BESIDE: u32 = 2;

/// Core instances, memories and tables of a component, at most. A component made from
/// Python has some 20 core instances and tables, and any one or two memories. All
/// is address space alone until it is used.
const CORE_INSTANCES: u32 = 200;
const TABLES: u32 = 64;
const MEMORIES: u32 = 8;

/// Elements of a table, at most. One of Python's has 10,000.
const TABLE_ELEMENTS: usize = 200_000;

/// What the engine keeps of an instance's functions and globals, at most, in bytes.
const CONTEXT: usize = 16 << 20;

/// How much of a memory or of a table is emptied by hand rather than given back to the
/// kernel, in bytes: what a small task touches.
const KEPT: usize = 1 << 20;

/// How room is made for `instances` at once.
pub(super) fn strategy(instances: u32) -> InstanceAllocationStrategy {
    if instances == 0 || instances > MOST {
        return InstanceAllocationStrategy::OnDemand;
    }
    let instances = instances + BESIDE;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_component_instance_size(CONTEXT)
        .max_core_instance_size(CONTEXT)
        .total_memories(instances * MEMORIES)
        .max_memories_per_component(MEMORIES)
        .max_memories_per_module(MEMORIES)
        .linear_memory_keep_resident(KEPT)
        .total_tables(instances * TABLES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .table_keep_resident(KEPT)
        .total_stacks(instances)
        .total_gc_heaps(instances)
        .max_unused_warm_slots(instances * MEMORIES)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}
