//! Ciphertexts as they travel.

use std::io::{self, Write};

use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::files::chunks::Reader;
use crate::files::container as format;
use crate::files::container::{Binding, Fingerprint, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::files::sealed::{Batch, Sealed, check_rest};
use crate::tfhe::params::public::Params;

/// Bytes of a seed.
const SEED_BYTES: u64 = 16;

/// A batch of encrypted inputs: one body a value, image after image, and a seed of masks for each image.
#[derive(Clone)]
pub struct EncryptedInput {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the client's file had a batch axis, so that the result gets one too.
    pub batched: bool,
    /// Seeds of the masks, one an image: its values are the LWE ciphertexts of a list expanded in order.
    pub seeds: Vec<[u8; 16]>,
    /// Bodies, `image x value`, words mod 2^32.
    pub bodies: Vec<u32>,
}

/// A batch of encrypted outputs: LWE rows under the flattened GLWE key, value-major.
#[derive(Clone)]
pub struct EncryptedOutput {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the input had a batch axis.
    pub batched: bool,
    /// Rows `value x image` of `k N + 1` words mod 2^32.
    pub rows: Vec<u32>,
}

impl EncryptedInput {
    /// Length of the file of a batch, in bytes.
    #[must_use]
    pub fn file_bytes(params: &Params, images: u32) -> u64 {
        format::file_bytes(Self::rest_bytes(params, images).saturating_add(Batch::BYTES))
    }

    fn rest_bytes(params: &Params, images: u32) -> u64 {
        let image = SEED_BYTES + 4 * params.input.tensor.len() as u64;
        image.saturating_mul(u64::from(images))
    }

    /// Expands the masks of `count` images from `first` on to rows of `k N + 1` words, `value x image`.
    ///
    /// # Panics
    /// If there are not so many images; [`Sealed::open`] has checked the rest.
    #[must_use]
    pub fn expand(&self, row_words: usize, first: usize, count: usize) -> Vec<u32> {
        let values = self.bodies.len() / self.images as usize;
        let mut rows = vec![0; values * count * row_words];
        for image in 0..count {
            let seeded = SeededLweCiphertextList::from_container(
                &self.bodies[(first + image) * values..][..values],
                LweSize(row_words),
                Seed(u128::from_le_bytes(self.seeds[first + image])).into(),
                CiphertextModulus::new_native(),
            );
            let modulus = CiphertextModulus::new_native();
            let mut list = LweCiphertextList::new(0_u32, LweSize(row_words), LweCiphertextCount(values), modulus);
            par_decompress_seeded_lwe_ciphertext_list::<_, _, _, DefaultRandomGenerator>(&mut list, &seeded);
            let own = list.into_container();
            for (value, row) in own.chunks_exact(row_words).enumerate() {
                rows[(value * count + image) * row_words..][..row_words].copy_from_slice(row);
            }
        }
        rows
    }
}

impl EncryptedOutput {
    /// Length of the file of a batch, in bytes.
    #[must_use]
    pub fn file_bytes(params: &Params, images: u32) -> u64 {
        format::file_bytes(Self::rest_bytes(params, images).saturating_add(Batch::BYTES))
    }

    fn rest_bytes(params: &Params, images: u32) -> u64 {
        let image = 4 * params.output.tensor.len() as u64 * params.tfhe.big_row_words() as u64;
        image.saturating_mul(u64::from(images))
    }
}

impl Sealed for EncryptedInput {
    const KIND: Kind = Kind::Input;
    const SCHEME: Scheme = Scheme::Tfhe;
    type Given = Params;

    fn bound_to(params: &Params) -> Option<Binding> {
        Some(params.binding())
    }

    fn binding(&self, params: &Params) -> Binding {
        params.binding()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, params: &Params) -> u64 {
        Batch::BYTES + Self::rest_bytes(params, self.images)
    }

    fn write(&self, _params: &Params, out: &mut dyn Write) -> io::Result<()> {
        Batch { images: self.images, batched: self.batched }.write(out)?;
        out.write_all(self.seeds.as_flattened())?;
        out.write_all(bytemuck::cast_slice(&self.bodies))
    }

    fn read(params: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let Batch { images, batched } = Batch::read(body)?;
        check_rest(body, Self::rest_bytes(params, images))?;
        let seeds = body.words(images as usize)?;
        let bodies = body.words(images as usize * params.input.tensor.len())?;
        Ok(Self { fingerprint, images, batched, seeds, bodies })
    }
}

impl Sealed for EncryptedOutput {
    const KIND: Kind = Kind::Output;
    const SCHEME: Scheme = Scheme::Tfhe;
    type Given = Params;

    fn bound_to(params: &Params) -> Option<Binding> {
        Some(params.binding())
    }

    fn binding(&self, params: &Params) -> Binding {
        params.binding()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, params: &Params) -> u64 {
        Batch::BYTES + Self::rest_bytes(params, self.images)
    }

    fn write(&self, _params: &Params, out: &mut dyn Write) -> io::Result<()> {
        Batch { images: self.images, batched: self.batched }.write(out)?;
        out.write_all(bytemuck::cast_slice(&self.rows))
    }

    fn read(params: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let Batch { images, batched } = Batch::read(body)?;
        check_rest(body, Self::rest_bytes(params, images))?;
        let rows = body.words(body.remaining() as usize / size_of::<u32>())?;
        Ok(Self { fingerprint, images, batched, rows })
    }
}
