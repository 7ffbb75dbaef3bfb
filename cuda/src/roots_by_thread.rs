//! Roots of transforms in the order in which threads read them (`kernels/cuda/residue_transform.cuh`).

/// The tree below a node of a larger one: node `2^d + i` of the result is node i of its depth d; the first entry is
/// that of the larger one.
pub(crate) fn subtree<T: Copy>(tree: &[T], top: usize, log2_size: u32) -> Vec<T> {
    let of_depth = |depth: u32| &tree[top << depth..][..1 << depth];
    std::iter::once(tree[0]).chain((0..log2_size).flat_map(of_depth).copied()).collect()
}

/// Each depth's roots, `2^d + i` in a tree, in the order of threads that take `log2_points` depths at a time: behind
/// each other stand those of equal number below the first nodes of a phase, which neighbours read at the same time.
pub(crate) fn roots_by_thread<T: Copy>(tree: &[T], log2_points: u32) -> Vec<T> {
    let mut table = tree.to_vec();
    let depths_of_all = tree.len().trailing_zeros();
    for depth in 0..depths_of_all {
        let first = depth / log2_points * log2_points;
        let depths = log2_points.min(depths_of_all - first);
        let groups = 1_usize << (log2_points - depths);
        let row = (1_usize << first) / groups;
        for node in 0..1_usize << depth {
            let (above, root) = (node >> (depth - first), node & ((1 << (depth - first)) - 1));
            let place = (root * groups + above % groups) * row + above / groups;
            table[(1 << depth) + place] = tree[(1 << depth) + node];
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_read_side_by_side() {
        // Two depths at a time of three: the last phase has one depth, and two groups a thread.
        let tree: Vec<u32> = (0..8).collect();
        assert_eq!(roots_by_thread(&tree, 2), [0, 1, 2, 3, 4, 6, 5, 7]);
        // Four depths in two phases of two: nodes 4 to 7 begin the second, each a thread's own.
        let tree: Vec<u32> = (0..16).collect();
        assert_eq!(roots_by_thread(&tree, 2)[8..], [8, 10, 12, 14, 9, 11, 13, 15]);
    }

    #[test]
    fn a_subtree_begins_at_its_node() {
        let tree: Vec<u32> = (0..16).collect();
        assert_eq!(subtree(&tree, 3, 2), [0, 3, 6, 7]);
    }
}
