//! CKKS's steps on two devices, all compared word for word.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use heman_core::ckks::ops::{Constant, Position, Product, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::plan::activation::FormKind;
use heman_core::ckks::plan::width::Width;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::coefficients::Coefficients;
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::State;
use heman_core::ckks::ring::plaintext::Plaintext;

use crate::difference::of_ciphertexts;
use crate::dual::{Dual, Pair, differ};

/// A ring on two devices. It takes as much at a time as the first does.
pub struct DualRing<A, B> {
    /// The ring whose results are handed out.
    pub first: A,
    /// The ring that it is compared with.
    pub second: B,
}

impl<A: RnsDevice, B: RnsDevice> RnsDevice for Dual<A, B> {
    type Ring = DualRing<A::Ring, B::Ring>;

    fn ring(&self, params: &ParameterSet, occupancy: Occupancy) -> Result<Self::Ring, CkksError> {
        let rings = Pair::of("ring", self.first.ring(params, occupancy), self.second.ring(params, occupancy))?;
        Ok(DualRing { first: rings.first, second: rings.second })
    }
}

type Both<A, B> = Pair<<A as RnsOps>::Ciphertext, <B as RnsOps>::Ciphertext>;

impl<A: RnsOps, B: RnsOps> DualRing<A, B> {
    /// Results of a step on both, after they were compared.
    fn results(
        &self,
        step: &'static str,
        first: Result<Vec<A::Ciphertext>, CkksError>,
        second: Result<Vec<B::Ciphertext>, CkksError>,
    ) -> Result<Vec<Both<A, B>>, CkksError> {
        let results = Pair::of(step, first, second)?;
        let (left, right) =
            (self.first.download(results.first.clone())?, self.second.download(results.second.clone())?);
        match of_ciphertexts(&left, &right, 1 << self.params().log2_degree) {
            Some(difference) => Err(differ(step, difference).into()),
            None => Ok(pairs(results.first, results.second)),
        }
    }

    /// The same for products of three parts.
    fn products_of(
        &self,
        step: &'static str,
        first: Result<Vec<Product<A::Ciphertext>>, CkksError>,
        second: Result<Vec<Product<B::Ciphertext>>, CkksError>,
    ) -> Result<Vec<Product<Both<A, B>>>, CkksError> {
        let Pair { first, second } = Pair::of(step, first, second)?;
        let (lows, highs): (Vec<_>, Vec<_>) = first.into_iter().map(|own| (own.low, own.high)).unzip();
        let (other_lows, other_highs) = second.into_iter().map(|own| (own.low, own.high)).unzip();
        let lows = self.results(step, Ok(lows), Ok(other_lows))?;
        let highs = self.results(step, Ok(highs), Ok(other_highs))?;
        Ok(lows.into_iter().zip(highs).map(|(low, high)| Product { low, high }).collect())
    }
}

fn pairs<A, B>(first: Vec<A>, second: Vec<B>) -> Vec<Pair<A, B>> {
    first.into_iter().zip(second).map(|(first, second)| Pair { first, second }).collect()
}

fn parts<A, B>(batch: Vec<Pair<A, B>>) -> (Vec<A>, Vec<B>) {
    batch.into_iter().map(|pair| (pair.first, pair.second)).unzip()
}

fn refs<'a, A, B>(batch: impl IntoIterator<Item = &'a Pair<A, B>>) -> (Vec<&'a A>, Vec<&'a B>) {
    batch.into_iter().map(|pair| (&pair.first, &pair.second)).unzip()
}

fn constants<'a, A, B>(all: &[Constant<'a, Pair<A, B>>]) -> (Vec<Constant<'a, A>>, Vec<Constant<'a, B>>) {
    let parts = |constant: &Constant<'a, Pair<A, B>>| match *constant {
        Constant::Number(number) => (Constant::Number(number), Constant::Number(number)),
        Constant::Slots(plaintext) => (Constant::Slots(&plaintext.first), Constant::Slots(&plaintext.second)),
    };
    all.iter().map(parts).unzip()
}

fn position_parts<'a, A, B>(position: &Position<'a, Pair<A, B>>) -> (Position<'a, A>, Position<'a, B>) {
    let (first, second) = refs(position.terms.iter().copied());
    let kernels = &position.kernels;
    (Position { terms: first, kernels: kernels.clone() }, Position { terms: second, kernels: kernels.clone() })
}

impl<A: RnsOps, B: RnsOps> RnsOps for DualRing<A, B> {
    type Ciphertext = Both<A, B>;
    type Plaintext = Pair<A::Plaintext, B::Plaintext>;
    type Coefficients = Pair<A::Coefficients, B::Coefficients>;
    type Map = Pair<A::Map, B::Map>;
    type SwitchKey = Pair<A::SwitchKey, B::SwitchKey>;
    type GaloisKey = Pair<A::GaloisKey, B::GaloisKey>;

    fn host(&self) -> &Ring {
        self.first.host()
    }

    fn width(&self) -> Width {
        self.first.width()
    }

    fn upload_seeded(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = (self.first.upload_seeded(batch, scale), self.second.upload_seeded(batch, scale));
        self.results("upload of fresh ciphertexts", first, second)
    }

    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<Self::Ciphertext>, CkksError> {
        self.results("upload", self.first.upload(batch.clone()), self.second.upload(batch))
    }

    fn download(&self, batch: Vec<Self::Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        let (first, second) = parts(batch);
        let Pair { first, second } = Pair::of("download", self.first.download(first), self.second.download(second))?;
        match of_ciphertexts(&first, &second, 1 << self.params().log2_degree) {
            Some(difference) => Err(differ("download", difference).into()),
            None => Ok(first),
        }
    }

    fn sync(&self) -> Result<(), CkksError> {
        self.first.sync().and_then(|()| self.second.sync())
    }

    fn load_plaintext(&self, plaintext: Plaintext) -> Result<Self::Plaintext, CkksError> {
        let first = self.first.load_plaintext(plaintext.clone());
        Pair::of("loading a plaintext", first, self.second.load_plaintext(plaintext))
    }

    fn load_coefficients(&self, coefficients: Coefficients) -> Result<Self::Coefficients, CkksError> {
        let first = self.first.load_coefficients(coefficients.clone());
        Pair::of("loading coefficients", first, self.second.load_coefficients(coefficients))
    }

    fn coefficient_bytes(&self, count: usize) -> u64 {
        self.first.coefficient_bytes(count)
    }

    fn plaintexts(&self, batch: &[&Self::Coefficients], limbs: usize) -> Result<Vec<Self::Plaintext>, CkksError> {
        let (first, second) = refs(batch.iter().copied());
        let (first, second) = (self.first.plaintexts(&first, limbs), self.second.plaintexts(&second, limbs));
        let Pair { first, second } = Pair::of("plaintexts", first, second)?;
        Ok(pairs(first, second))
    }

    fn load_map(&self, matrix: Matrix) -> Result<Self::Map, CkksError> {
        Pair::of("loading a matrix", self.first.load_map(matrix.clone()), self.second.load_map(matrix))
    }

    fn load_switch_key(&self, key: &SeededSwitchKey) -> Result<Self::SwitchKey, CkksError> {
        Pair::of("loading a key", self.first.load_switch_key(key), self.second.load_switch_key(key))
    }

    fn load_automorphism_key(&self, key: &SeededSwitchKey, element: usize) -> Result<Self::GaloisKey, CkksError> {
        let first = self.first.load_automorphism_key(key, element);
        Pair::of("loading an automorphism's key", first, self.second.load_automorphism_key(key, element))
    }

    fn load_galois_key(&self, key: &SeededSwitchKey, steps: usize) -> Result<Self::GaloisKey, CkksError> {
        let (first, second) = (self.first.load_galois_key(key, steps), self.second.load_galois_key(key, steps));
        Pair::of("loading a rotation's key", first, second)
    }

    fn state(&self, ciphertext: &Self::Ciphertext) -> State {
        self.first.state(&ciphertext.first)
    }

    fn add_assign(&self, sums: &mut [Self::Ciphertext], terms: &[&Self::Ciphertext]) -> Result<(), CkksError> {
        let (mut first, mut second) = parts(sums.to_vec());
        let (left, right) = refs(terms.iter().copied());
        let left = self.first.add_assign(&mut first, &left).map(|()| first);
        let right = self.second.add_assign(&mut second, &right).map(|()| second);
        sums.clone_from_slice(&self.results("add_assign", left, right)?);
        Ok(())
    }

    fn sums(&self, groups: &[Vec<&Self::Ciphertext>]) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second): (Vec<_>, Vec<_>) = groups.iter().map(|group| refs(group.iter().copied())).unzip();
        self.results("sums", self.first.sums(&first), self.second.sums(&second))
    }

    fn add_constants(
        &self,
        batch: &mut [Self::Ciphertext],
        added: &[Constant<'_, Self::Plaintext>],
    ) -> Result<(), CkksError> {
        let (mut first, mut second) = parts(batch.to_vec());
        let (left, right) = constants(added);
        let left = self.first.add_constants(&mut first, &left).map(|()| first);
        let right = self.second.add_constants(&mut second, &right).map(|()| second);
        batch.clone_from_slice(&self.results("add_constants", left, right)?);
        Ok(())
    }

    fn products(
        &self,
        terms: &[&Self::Ciphertext],
        factors: &[Constant<'_, Self::Plaintext>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let ((first, second), (left, right)) = (refs(terms.iter().copied()), constants(factors));
        self.results("products", self.first.products(&first, &left), self.second.products(&second, &right))
    }

    fn add_products(
        &self,
        sums: &mut [Self::Ciphertext],
        terms: &[&Self::Ciphertext],
        factors: &[Constant<'_, Self::Plaintext>],
    ) -> Result<(), CkksError> {
        let (mut first, mut second) = parts(sums.to_vec());
        let ((left, right), (of_left, of_right)) = (refs(terms.iter().copied()), constants(factors));
        let left = self.first.add_products(&mut first, &left, &of_left).map(|()| first);
        let right = self.second.add_products(&mut second, &right, &of_right).map(|()| second);
        sums.clone_from_slice(&self.results("add_products", left, right)?);
        Ok(())
    }

    fn apply_map(
        &self,
        map: &Self::Map,
        positions: &[Position<'_, Self::Ciphertext>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second): (Vec<_>, Vec<_>) = positions.iter().map(position_parts).unzip();
        let first = self.first.apply_map(&map.first, &first);
        self.results("apply_map", first, self.second.apply_map(&map.second, &second))
    }

    fn inner_products(
        &self,
        inputs: &[Self::Ciphertext],
        sums: &[Vec<(usize, &Self::Plaintext)>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = parts(inputs.to_vec());
        let left: Vec<Vec<_>> = sums.iter().map(|sum| sum.iter().map(|&(at, p)| (at, &p.first)).collect()).collect();
        let right: Vec<Vec<_>> = sums.iter().map(|sum| sum.iter().map(|&(at, p)| (at, &p.second)).collect()).collect();
        let first = self.first.inner_products(&first, &left);
        self.results("inner_products", first, self.second.inner_products(&second, &right))
    }

    fn multiply(
        &self,
        factors: &[(&Self::Ciphertext, &Self::Ciphertext)],
        key: &Self::SwitchKey,
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let first: Vec<_> = factors.iter().map(|(a, b)| (&a.first, &b.first)).collect();
        let second: Vec<_> = factors.iter().map(|(a, b)| (&a.second, &b.second)).collect();
        let first = self.first.multiply(&first, &key.first);
        self.results("multiply", first, self.second.multiply(&second, &key.second))
    }

    fn tensor(
        &self,
        factors: &[(&Self::Ciphertext, &Self::Ciphertext)],
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError> {
        let first: Vec<_> = factors.iter().map(|(a, b)| (&a.first, &b.first)).collect();
        let second: Vec<_> = factors.iter().map(|(a, b)| (&a.second, &b.second)).collect();
        self.products_of("tensor", self.first.tensor(&first), self.second.tensor(&second))
    }

    fn relinearise(
        &self,
        products: Vec<Product<Self::Ciphertext>>,
        key: &Self::SwitchKey,
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let both = |Product { low, high }: Product<Both<A, B>>| {
            (Product { low: low.first, high: high.first }, Product { low: low.second, high: high.second })
        };
        let (first, second) = products.into_iter().map(both).unzip();
        let first = self.first.relinearise(first, &key.first);
        self.results("relinearise", first, self.second.relinearise(second, &key.second))
    }

    fn rescale(&self, batch: Vec<Self::Ciphertext>) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = parts(batch);
        self.results("rescale", self.first.rescale(first), self.second.rescale(second))
    }

    fn rescale_by(&self, batch: Vec<Self::Ciphertext>, primes: usize) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = parts(batch);
        self.results("rescale_by", self.first.rescale_by(first, primes), self.second.rescale_by(second, primes))
    }

    fn raise(&self, batch: Vec<Self::Ciphertext>, limbs: usize) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = parts(batch);
        self.results("raise", self.first.raise(first, limbs), self.second.raise(second, limbs))
    }

    fn multiply_add_rescale(
        &self,
        factors: &[(&Self::Ciphertext, &Self::Ciphertext)],
        key: &Self::SwitchKey,
        terms: &[&[Self::Ciphertext]],
        uses: &[Vec<Constant<'_, Self::Plaintext>>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let first: Vec<_> = factors.iter().map(|(a, b)| (&a.first, &b.first)).collect();
        let second: Vec<_> = factors.iter().map(|(a, b)| (&a.second, &b.second)).collect();
        let (left, right): (Vec<_>, Vec<_>) = terms.iter().map(|all| parts(all.to_vec())).unzip();
        let (of_left, of_right): (Vec<_>, Vec<_>) = uses.iter().map(|all| constants(all)).unzip();
        let left: Vec<&[_]> = left.iter().map(Vec::as_slice).collect();
        let right: Vec<&[_]> = right.iter().map(Vec::as_slice).collect();
        let first = self.first.multiply_add_rescale(&first, &key.first, &left, &of_left);
        let second = self.second.multiply_add_rescale(&second, &key.second, &right, &of_right);
        self.results("multiply_add_rescale", first, second)
    }

    fn activate(
        &self,
        key: &Self::SwitchKey,
        kind: FormKind,
        u: Vec<Self::Ciphertext>,
        uses: &[Vec<Constant<'_, Self::Plaintext>>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = parts(u);
        let (left, right): (Vec<_>, Vec<_>) = uses.iter().map(|all| constants(all)).unzip();
        let first = self.first.activate(&key.first, kind, first, &left);
        self.results("activate", first, self.second.activate(&key.second, kind, second, &right))
    }

    fn activate_open(
        &self,
        key: &Self::SwitchKey,
        kind: FormKind,
        u: Vec<Self::Ciphertext>,
        uses: &[Vec<Constant<'_, Self::Plaintext>>],
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError> {
        let (first, second) = parts(u);
        let (left, right): (Vec<_>, Vec<_>) = uses.iter().map(|all| constants(all)).unzip();
        let first = self.first.activate_open(&key.first, kind, first, &left);
        self.products_of("activate_open", first, self.second.activate_open(&key.second, kind, second, &right))
    }

    fn drop_to(&self, batch: Vec<Self::Ciphertext>, limbs: usize) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let (first, second) = parts(batch);
        self.results("drop_to", self.first.drop_to(first, limbs), self.second.drop_to(second, limbs))
    }

    fn rotate(&self, turned: &[(&Self::Ciphertext, &Self::GaloisKey)]) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let first: Vec<_> = turned.iter().map(|(a, key)| (&a.first, &key.first)).collect();
        let second: Vec<_> = turned.iter().map(|(a, key)| (&a.second, &key.second)).collect();
        self.results("rotate", self.first.rotate(&first), self.second.rotate(&second))
    }

    fn rotate_add(&self, sums: &mut [Self::Ciphertext], key: &Self::GaloisKey) -> Result<(), CkksError> {
        let (mut first, mut second) = parts(sums.to_vec());
        let left = self.first.rotate_add(&mut first, &key.first).map(|()| first);
        let right = self.second.rotate_add(&mut second, &key.second).map(|()| second);
        sums.clone_from_slice(&self.results("rotate_add", left, right)?);
        Ok(())
    }

    /// Results are compared as one list, ciphertext by ciphertext and key by key.
    fn rotate_hoisted(
        &self,
        batch: &[&Self::Ciphertext],
        limbs: usize,
        keys: &[Option<&Self::GaloisKey>],
    ) -> Result<Vec<Vec<Self::Ciphertext>>, CkksError> {
        let (first, second) = refs(batch.iter().copied());
        let of_first: Vec<_> = keys.iter().map(|key| key.map(|key| &key.first)).collect();
        let of_second: Vec<_> = keys.iter().map(|key| key.map(|key| &key.second)).collect();
        let first = self.first.rotate_hoisted(&first, limbs, &of_first).map(|all| all.into_iter().flatten().collect());
        let second = self.second.rotate_hoisted(&second, limbs, &of_second);
        let second = second.map(|all| all.into_iter().flatten().collect());
        let mut results = self.results("rotate_hoisted", first, second)?.into_iter();
        Ok(batch.iter().map(|_| results.by_ref().take(keys.len()).collect()).collect())
    }

    fn shrink(&self, batch: Vec<Self::Ciphertext>) -> Vec<Self::Ciphertext> {
        let (first, second) = parts(batch);
        pairs(self.first.shrink(first), self.second.shrink(second))
    }

    fn release(&self, batch: Vec<Self::Ciphertext>) {
        let (first, second) = parts(batch);
        self.first.release(first);
        self.second.release(second);
    }
}
