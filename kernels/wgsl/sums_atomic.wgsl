// Sums over a workgroup, a thread's part at a time.

// The part that the thread adds.
fn part_to_add(part: i32) -> i32 {
    return part;
}

// Whether the thread adds one.
fn adds_part() -> bool {
    return true;
}
