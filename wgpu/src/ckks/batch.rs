//! Launches over lists of polynomials, cut to what the device takes at a time.

use std::sync::Arc;

use bytemuck::Pod;
use heman_core::ckks::error::CkksError;

use crate::ckks::ring::WgpuRing;
use crate::pipelines::Kernel;
use crate::queue::{Launch, MOST_GROUPS};
use crate::recorder::{ARGUMENT_WORDS, Arguments};

/// What stands for "no address".
pub const NOWHERE: u32 = u32::MAX;

/// Arguments of one polynomial, or of as many as share a thread.
pub struct Item {
    pub words: Vec<u32>,
    /// A list beside the words, and which of them points to it.
    pub list: Option<(usize, Vec<u32>)>,
}

impl Item {
    pub fn new(words: impl Into<Vec<u32>>) -> Self {
        Self { words: words.into(), list: None }
    }

    /// With a list that word `at` points to.
    pub fn with_list(words: impl Into<Vec<u32>>, at: usize, list: Vec<u32>) -> Self {
        Self { words: words.into(), list: Some((at, list)) }
    }

    fn argument_words(&self) -> usize {
        self.words.len() + self.list.as_ref().map_or(0, |(_, list)| list.len())
    }
}

/// A kernel over items.
pub(in crate::ckks) struct Over<'a, P> {
    pub step: &'static str,
    pub kernel: &'a Arc<Kernel>,
    pub params: P,
    /// Workgroups of an item.
    pub groups: [usize; 2],
    /// Products of words of an item.
    pub multiplications: f64,
}

impl WgpuRing {
    /// Launches a kernel for all items. Items are rows of workgroups if there is one limb to each, layers else.
    pub(in crate::ckks) fn over<P: Pod>(&self, over: &Over<'_, P>, items: &[Item]) -> Result<(), CkksError> {
        let most = (self.context.most_multiplications() / over.multiplications.max(1.0)) as usize;
        let most = most.clamp(1, MOST_GROUPS);
        let mut rest = items;
        while !rest.is_empty() {
            let mut words = 0;
            let fitting = rest.iter().take(most).take_while(|item| {
                words += item.argument_words();
                words <= ARGUMENT_WORDS
            });
            let (slice, others) = rest.split_at(fitting.count().max(1));
            rest = others;
            let mut arguments = Arguments::default();
            let mut lists = Vec::with_capacity(slice.len());
            for item in slice {
                lists.push(arguments.len());
                arguments.extend(item.list.iter().flat_map(|(_, list)| list.iter().copied()));
            }
            let first_item = arguments.len();
            for (item, list) in slice.iter().zip(lists) {
                for (at, &word) in item.words.iter().enumerate() {
                    match &item.list {
                        Some((pointer, _)) if *pointer == at => arguments.point_to(list),
                        _ => arguments.extend([word]),
                    }
                }
            }
            let [x, y] = over.groups;
            let groups = if y == 0 { [x, slice.len(), 1] } else { [x, y, slice.len()] };
            self.context.launch(&Launch {
                step: over.step,
                kernel: over.kernel,
                table: &self.table,
                params: over.params,
                arguments: &arguments,
                first_item,
                groups,
                multiplications: over.multiplications * slice.len() as f64,
            })?;
        }
        Ok(())
    }
}
