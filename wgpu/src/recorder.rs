//! What launches leave behind until they are handed over: commands, and the arguments that kernels read.

/// Words of arguments of one submission.
pub const ARGUMENT_WORDS: usize = 1 << 20;

/// What is recorded but not yet handed to the device.
#[derive(Default)]
pub struct Recorder {
    pub encoder: Option<wgpu::CommandEncoder>,
    pub pass: Option<wgpu::ComputePass<'static>>,
    pub arguments: Vec<u32>,
    pub multiplications: f64,
}

impl Recorder {
    /// Commands and their arguments, if there are any.
    pub fn finish(&mut self) -> Option<(wgpu::CommandBuffer, Vec<u32>)> {
        self.multiplications = 0.0;
        drop(self.pass.take());
        let commands = self.encoder.take()?.finish();
        Some((commands, std::mem::take(&mut self.arguments)))
    }
}

/// Arguments of launches: items of equal length, and lists that they point to.
#[derive(Default)]
pub struct Arguments {
    pub words: Vec<u32>,
    /// Words that are places in `words`.
    pub pointers: Vec<usize>,
}

impl Arguments {
    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn extend(&mut self, words: impl IntoIterator<Item = u32>) {
        self.words.extend(words);
    }

    /// A word that will be where place `at` of these arguments comes to lie.
    pub fn point_to(&mut self, at: usize) {
        self.pointers.push(self.words.len());
        self.words.push(at as u32);
    }
}
