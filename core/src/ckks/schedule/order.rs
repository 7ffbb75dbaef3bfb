//! The order in which the nodes of a computation are evaluated: one in which few results exist at one time.
//!
//! Nodes are taken depth first from the roots, operands by their place, which is the mean of their own operands'
//! places: what several convolutions compute from one part of an image comes together, and a stage's window slides over
//! the stage before it.

use std::collections::BTreeSet;
use std::ops::Range;

/// How a node is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Fetched right before its first reader.
    Source,
    /// Evaluated as soon as its operands exist: it takes their place.
    Sum,
    /// Evaluated in its turn.
    Row,
}

/// Nodes that are evaluated in parallel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// The nodes; all their operands were in earlier waves.
    pub nodes: Vec<u32>,
    /// Nodes that no later wave reads.
    pub dead: Vec<u32>,
}

/// An acyclic graph of nodes, numbered in the order in which they were added; operands may have higher numbers.
#[derive(Default)]
pub(in crate::ckks) struct Graph {
    turns: Vec<Turn>,
    places: Vec<f64>,
    /// Operands of all nodes, one after the other, and where each node's end.
    operands: Vec<u32>,
    ends: Vec<usize>,
}

impl Graph {
    /// Adds a node without operands.
    pub fn source(&mut self, place: f64) {
        self.push(Turn::Source, place, []);
    }

    /// Adds a sum of distinct nodes.
    pub fn sum(&mut self, operands: impl IntoIterator<Item = u32>) {
        self.push(Turn::Sum, 0.0, operands);
    }

    /// Adds a row that reads distinct nodes.
    pub fn row(&mut self, operands: impl IntoIterator<Item = u32>) {
        self.push(Turn::Row, 0.0, operands);
    }

    fn push(&mut self, turn: Turn, place: f64, operands: impl IntoIterator<Item = u32>) {
        self.turns.push(turn);
        self.places.push(place);
        self.operands.extend(operands);
        self.ends.push(self.operands.len());
    }

    fn operands(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.operands[node.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[node]]
    }

    fn is_source(&self, node: u32) -> bool {
        self.turns[node as usize] == Turn::Source
    }

    fn count(&self) -> u32 {
        self.turns.len() as u32
    }

    /// Waves of `width` rows, less only where fewer are ready, that evaluate the roots and what they need. Roots never
    /// die.
    pub fn waves(mut self, roots: Range<u32>, width: usize) -> Vec<Wave> {
        let readers = Readers::new(&self);
        self.place_rows(&readers);
        let order = self.depth_first(roots.clone());
        Scheduler::new(&self, &readers, &order, roots).run(width)
    }

    /// Gives each row and sum the mean place of its operands.
    fn place_rows(&mut self, readers: &Readers) {
        let mut missing: Vec<usize> = (0..self.count()).map(|node| self.operands(node).len()).collect();
        let mut ready: Vec<u32> = (0..self.count()).filter(|&node| missing[node as usize] == 0).collect();
        while let Some(node) = ready.pop() {
            let operands = self.operands(node);
            if !operands.is_empty() {
                let sum: f64 = operands.iter().map(|&operand| self.places[operand as usize]).sum();
                self.places[node as usize] = sum / operands.len() as f64;
            }
            for &reader in readers.of(node) {
                missing[reader as usize] -= 1;
                if missing[reader as usize] == 0 {
                    ready.push(reader);
                }
            }
        }
    }

    /// Rows and sums that the roots need, each behind its operands.
    fn depth_first(&self, roots: Range<u32>) -> Vec<u32> {
        let mut seen = vec![false; self.turns.len()];
        let mut order = Vec::new();
        // A node is met twice: first its operands go on top of it, then it is done.
        let mut stack: Vec<(u32, bool)> = roots.rev().map(|root| (root, false)).collect();
        while let Some((node, entered)) = stack.pop() {
            if entered {
                order.push(node);
            } else if !std::mem::replace(&mut seen[node as usize], true) {
                stack.push((node, true));
                let open = |&operand: &u32| !seen[operand as usize] && !self.is_source(operand);
                let mut operands: Vec<u32> = self.operands(node).iter().copied().filter(open).collect();
                let place = |node: u32| self.places[node as usize];
                operands.sort_unstable_by(|&a, &b| place(b).total_cmp(&place(a)).then(b.cmp(&a)));
                stack.extend(operands.into_iter().map(|operand| (operand, false)));
            }
        }
        order
    }
}

/// For each node the nodes that read it.
struct Readers {
    starts: Vec<usize>,
    nodes: Vec<u32>,
}

impl Readers {
    fn new(graph: &Graph) -> Self {
        let mut starts = vec![0; graph.turns.len() + 1];
        graph.operands.iter().for_each(|&operand| starts[operand as usize + 1] += 1);
        for node in 0..graph.turns.len() {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut nodes = vec![0; graph.operands.len()];
        for reader in 0..graph.count() {
            for &operand in graph.operands(reader) {
                nodes[next[operand as usize]] = reader;
                next[operand as usize] += 1;
            }
        }
        Self { starts, nodes }
    }

    fn of(&self, node: u32) -> &[u32] {
        &self.nodes[self.starts[node as usize]..self.starts[node as usize + 1]]
    }
}

/// What is done and what is ready.
struct Scheduler<'a> {
    graph: &'a Graph,
    readers: &'a Readers,
    order: &'a [u32],
    /// Place in `order`; none for sources and for nodes that no root needs.
    rank: Vec<Option<usize>>,
    /// Operands that are neither sources nor done.
    missing: Vec<usize>,
    /// Readers that are not done, and one more for roots.
    unread: Vec<usize>,
    fetched: Vec<bool>,
    /// Ranks of nodes that miss nothing.
    ready: BTreeSet<usize>,
    waves: Vec<Wave>,
}

impl<'a> Scheduler<'a> {
    fn new(graph: &'a Graph, readers: &'a Readers, order: &'a [u32], roots: Range<u32>) -> Self {
        let mut rank = vec![None; graph.turns.len()];
        order.iter().enumerate().for_each(|(at, &node)| rank[node as usize] = Some(at));
        let computed = |&&operand: &&u32| !graph.is_source(operand);
        let missing: Vec<usize> =
            (0..graph.count()).map(|node| graph.operands(node).iter().filter(computed).count()).collect();
        let needed = |&&reader: &&u32| rank[reader as usize].is_some();
        let unread = (0..graph.count())
            .map(|node| readers.of(node).iter().filter(needed).count() + usize::from(roots.contains(&node)))
            .collect();
        let ready = (0..order.len()).filter(|&at| missing[order[at] as usize] == 0).collect();
        let fetched = vec![false; graph.turns.len()];
        Self { graph, readers, order, rank, missing, unread, fetched, ready, waves: Vec::new() }
    }

    fn run(mut self, width: usize) -> Vec<Wave> {
        while !self.ready.is_empty() {
            let (mut nodes, mut rows) = (Vec::new(), 0);
            while rows < width
                && let Some(at) = self.ready.pop_first()
            {
                let node = self.order[at];
                rows += usize::from(self.graph.turns[node as usize] == Turn::Row);
                nodes.push(node);
            }
            let mut sums = self.emit(nodes);
            while !sums.is_empty() {
                sums = self.emit(sums);
            }
        }
        self.waves
    }

    /// Adds a wave, behind one that fetches its sources; returns the sums that it made ready.
    fn emit(&mut self, nodes: Vec<u32>) -> Vec<u32> {
        let (mut fetch, mut dead, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        for &node in &nodes {
            for &operand in self.graph.operands(node) {
                if self.graph.is_source(operand) && !std::mem::replace(&mut self.fetched[operand as usize], true) {
                    fetch.push(operand);
                }
                self.unread[operand as usize] -= 1;
                if self.unread[operand as usize] == 0 {
                    dead.push(operand);
                }
            }
            for &reader in self.readers.of(node) {
                let Some(at) = self.rank[reader as usize] else { continue };
                self.missing[reader as usize] -= 1;
                if self.missing[reader as usize] == 0 {
                    match self.graph.turns[reader as usize] {
                        Turn::Sum => sums.push(reader),
                        _ => _ = self.ready.insert(at),
                    }
                }
            }
        }
        if !fetch.is_empty() {
            self.waves.push(Wave { nodes: fetch, dead: Vec::new() });
        }
        self.waves.push(Wave { nodes, dead });
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two 3 x 3 convolutions of two channels each over an image of 12 x 12, a pooling of 2 x 2 behind the first, and
    /// two rows that read everything.
    fn convolutions() -> (Graph, Range<u32>) {
        let mut graph = Graph::default();
        (0..144).for_each(|place| graph.source(f64::from(place)));
        let window = |x: u32, y: u32, width: u32, size: u32| {
            (0..size * size).map(move |at| (y + at / size) * width + x + at % size)
        };
        for at in 0..200 {
            graph.row(window(at % 10, at % 100 / 10, 12, 3));
        }
        // Channels lie one after the other: 5 x 5 sums each, from 364 on.
        for at in 0..18 {
            let read = |channel: u32| window(at % 3, at % 9 / 3, 5, 3).map(move |sum| 364 + channel * 25 + sum);
            graph.row((0..2).flat_map(read).collect::<Vec<u32>>());
        }
        (0..2).for_each(|_| graph.row(344..362));
        for at in 0..50 {
            let first = 144 + at / 25 * 100;
            graph.sum(window(at % 5 * 2, at % 25 / 5 * 2, 10, 2).map(|value| first + value).collect::<Vec<u32>>());
        }
        (graph, 362..364)
    }

    /// Checks that waves evaluate everything once, read only what is there, and drop it behind the last reader; the
    /// most that lives.
    fn check(graph: &Graph, waves: &[Wave], roots: Range<u32>) -> usize {
        let mut state = vec![None; graph.turns.len()];
        let (mut alive, mut most) = (0, 0);
        for wave in waves {
            for &node in &wave.nodes {
                assert_eq!(state[node as usize], None, "node {node} is evaluated once");
                assert!(graph.operands(node).iter().all(|&o| state[o as usize] == Some(true)), "operands of {node}");
            }
            wave.nodes.iter().for_each(|&node| state[node as usize] = Some(true));
            alive += wave.nodes.len();
            most = most.max(alive);
            for &node in &wave.dead {
                assert_eq!(state[node as usize].replace(false), Some(true), "node {node} dies once");
            }
            alive -= wave.dead.len();
        }
        assert_eq!(alive, roots.len(), "only the roots stay");
        assert!(roots.into_iter().all(|root| state[root as usize] == Some(true)));
        most
    }

    fn schedule(width: usize) -> (Vec<Wave>, usize) {
        let (graph, roots) = convolutions();
        let waves = graph.waves(roots.clone(), width);
        let most = check(&convolutions().0, &waves, roots);
        (waves, most)
    }

    #[test]
    fn windows_slide() {
        let (_, breadth_first) = schedule(usize::MAX);
        let (_, bounded) = schedule(4);
        assert!(breadth_first >= 344, "{breadth_first}");
        assert!(bounded <= 130, "{bounded}");
    }

    #[test]
    fn waves_are_full_where_rows_are_ready() {
        let (waves, _) = schedule(32);
        let rows = |wave: &Wave| wave.nodes.iter().filter(|&&node| (144..364).contains(&node)).count();
        let full = waves.iter().filter(|wave| rows(wave) == 32).count();
        assert!(full >= 6, "{:?}", waves.iter().map(rows).collect::<Vec<_>>());
        assert!(waves.iter().all(|wave| rows(wave) <= 32));
    }

    #[test]
    fn nodes_that_no_root_needs_are_left_out() {
        let mut graph = Graph::default();
        (0..2).for_each(|place| graph.source(f64::from(place)));
        graph.row([0]);
        graph.row([0, 1]);
        graph.row([2]);
        let waves = graph.waves(4..5, 8);
        let wave = |nodes: &[u32], dead: &[u32]| Wave { nodes: nodes.to_vec(), dead: dead.to_vec() };
        assert_eq!(waves, [wave(&[0], &[]), wave(&[2], &[0]), wave(&[4], &[2])]);
    }
}
