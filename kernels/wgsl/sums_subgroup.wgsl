// Sums over a workgroup, those of a subgroup at a time. Called where all threads are.

// The part that one thread of the subgroup adds.
fn part_to_add(part: i32) -> i32 {
    return subgroupAdd(part);
}

// Whether it is this thread: none of the subgroup stands before it.
fn adds_part() -> bool {
    return subgroupExclusiveAdd(1u) == 0u;
}
