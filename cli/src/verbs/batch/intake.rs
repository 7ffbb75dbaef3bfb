//! Items are read one after the other and become requests; what cannot be read is reported and passed over.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use heman_core::either::files::EncryptedInput;
use heman_core::either::params::Params;
use heman_core::either::streams::{InputReader, output_file_bytes};
use heman_core::files::chunks::Reader;
use heman_core::files::container::{Binding, FormatError};
use heman_core::files::sealed::Batch;
use heman_engine::scheduler::{Request, Requests};
use serde_json::json;

use super::desk::{Desk, Parts, Step, Whole, Work, part_name};
use super::items::{Found, Items};
use super::journal::Past;
use super::keyring::{Keyring, NO_KEY};
use super::names::{Item, digest};
use super::store::{is_newer, output_of};
use crate::shard::Shard;

/// What items are taken by.
pub struct Terms<'a> {
    /// The plan's parameters.
    pub params: &'a Params,
    /// The keys.
    pub keyring: &'a Keyring<'a>,
    /// The share of the items that is taken; all of them without one.
    pub shard: Option<Shard>,
    /// Inputs of a request at the most; items with more are answered in parts.
    pub most: usize,
    /// Whether items that failed before are tried again.
    pub is_retrying: bool,
    /// Whether an item may be named twice, or two may have one output.
    pub is_looking_over: bool,
}

/// Reads items.
pub struct Intake<'a> {
    terms: Terms<'a>,
    binding: Binding,
    desk: &'a Desk<'a>,
    items: Items<'a>,
    /// Items by the digest of their output's name, where they have to be looked over on the way.
    seen: HashMap<u128, u128>,
    open: Option<InParts<'a>>,
    tickets: u64,
}

/// An item that is read in parts.
struct InParts<'a> {
    whole: Arc<Whole>,
    reader: InputReader<'a>,
    folder: PathBuf,
    /// The first input that was not read.
    first: u32,
}

impl<'a> Intake<'a> {
    /// Nothing is read before it is asked for.
    pub fn new(terms: Terms<'a>, desk: &'a Desk<'a>, items: Items<'a>) -> Self {
        let binding = terms.params.binding();
        Self { terms, binding, desk, items, seen: HashMap::new(), open: None, tickets: 0 }
    }

    /// Takes an item; none where it makes no request.
    fn begin(&mut self, found: Found) -> Option<Request> {
        let name = match &found {
            Found::Item(item) => &item.name,
            Found::Unusable(name, _) => name,
        };
        let key = digest(name);
        if self.terms.shard.is_some_and(|shard| !shard.holds(key)) {
            return None;
        }
        let past = self.desk.past(key);
        if past == Past::Failed && !self.terms.is_retrying {
            self.desk.pass_over(past);
            return None;
        }
        let item = match found {
            Found::Item(item) => item,
            Found::Unusable(name, why) => {
                self.desk.fail(&name, &why, json!({}));
                return None;
            }
        };
        if self.terms.is_looking_over {
            match self.seen.insert(digest(&item.output.to_string_lossy()), key) {
                None => {}
                Some(other) if other == key => {
                    self.desk.pass_over(Past::Done);
                    return None;
                }
                Some(other) => {
                    self.seen.insert(digest(&item.output.to_string_lossy()), other);
                    self.desk.fail(&item.name, "another input has the same output", json!({}));
                    return None;
                }
            }
        }
        let name = item.name.clone();
        self.open_item(item, key, past).unwrap_or_else(|error| {
            self.desk.fail(&name, &error, json!({}));
            None
        })
    }

    fn open_item(&mut self, item: Item, key: u128, past: Past) -> Result<Option<Request>, String> {
        let place = self.desk.store().place(&item.output)?;
        if past == Past::Done && place.is_taken {
            self.desk.store().forget_parts(key);
            self.desk.pass_over(past);
            return Ok(None);
        }
        if !std::fs::metadata(&item.path).map_err(|error| error.to_string())?.is_file() {
            return Err("it is no file".into());
        }
        let file = Reader::open(&item.path).map_err(|error| error.to_string())?;
        let fingerprint = file.header().fingerprint;
        let mut reader = InputReader::open(file, self.terms.params, None).map_err(|error| error.to_string())?;
        if !self.terms.keyring.holds(fingerprint) {
            return Err(NO_KEY.into());
        }
        let (batch, path) = (reader.batch(), item.path.clone());
        let parts = Mutex::new(Parts::default());
        let whole = Arc::new(Whole { item, digest: key, place: place.path, batch, fingerprint, parts });
        if place.is_taken && is_newer(&whole.place, &path) && self.is_sound(&whole) {
            self.desk.found(&whole);
            self.desk.store().forget_parts(key);
            return Ok(None);
        }
        if batch.inputs as usize > self.terms.most {
            let folder = self.desk.store().parts(key).map_err(|error| error.to_string())?;
            self.open = Some(InParts { whole, reader, folder, first: 0 });
            return Ok(None);
        }
        let input = reader.next(usize::MAX).map_err(|error| error.to_string())?;
        let input = input.filter(|input| input.batch() == batch).ok_or("the file's inputs cannot be read as one")?;
        let work = Work { whole, first: None, inputs: batch.inputs, since: Instant::now() };
        Ok(Some(self.request(work, input)))
    }

    fn request(&mut self, work: Work, input: EncryptedInput) -> Request {
        let ticket = self.tickets;
        self.tickets += 1;
        self.desk.put_in_work(ticket, work);
        Request { ticket, input }
    }

    /// Whether the output that is there is all of the item's.
    fn is_sound(&self, whole: &Whole) -> bool {
        output_of(&whole.place, &self.binding).is_some_and(|mut file| {
            let is_own = file.header().fingerprint == whole.fingerprint
                && file.header().file_bytes() == output_file_bytes(self.terms.params, whole.batch.inputs);
            is_own && Batch::read(&mut file).is_ok_and(|batch| batch == whole.batch) && check_rest(file).is_ok()
        })
    }

    /// The next part of the item that is read in parts; none when there are no more.
    fn next_part(&mut self, mut open: InParts<'a>) -> Option<Request> {
        let all = open.whole.batch.inputs;
        let failure = loop {
            if open.first == all {
                break None;
            }
            let before = inputs_of_part(&open, &self.binding).filter(|&inputs| inputs <= all - open.first);
            let most = before.map_or(self.terms.most, |inputs| inputs as usize);
            let input = match open.reader.next(most) {
                Ok(Some(input)) => input,
                Ok(None) => break Some("the file has fewer inputs than it says".to_owned()),
                Err(error) => break Some(error.to_string()),
            };
            let (first, inputs) = (open.first, input.count() as u32);
            open.first += inputs;
            if before == Some(inputs) {
                self.desk.parts_found(inputs);
                continue;
            }
            let work = Work { whole: Arc::clone(&open.whole), first: Some(first), inputs, since: Instant::now() };
            let request = self.request(work, input);
            self.open = Some(open);
            return Some(request);
        };
        if let Err(error) = self.desk.settle(&open.whole, Step::Read, failure) {
            self.desk.break_off(error);
        }
        None
    }
}

/// Reads the rest of a file, for its checksums.
fn check_rest(mut file: Reader<'_>) -> Result<(), FormatError> {
    let mut buffer = [0; 1 << 14];
    while file.remaining() > 0 {
        let count = file.remaining().min(buffer.len() as u64) as usize;
        file.fill(&mut buffer[..count])?;
    }
    file.finish()
}

/// Inputs of the part that begins where reading stands, if an earlier run has answered it.
fn inputs_of_part(open: &InParts<'_>, binding: &Binding) -> Option<u32> {
    let path = open.folder.join(part_name(open.first));
    let mut file = output_of(&path, binding).filter(|_| is_newer(&path, &open.whole.item.path))?;
    let is_own = file.header().fingerprint == open.whole.fingerprint;
    Batch::read(&mut file).ok().filter(|_| is_own).map(|batch| batch.inputs)
}

impl Requests for Intake<'_> {
    fn next(&mut self) -> Option<Request> {
        while !self.desk.is_stopped() {
            let request = if let Some(open) = self.open.take() {
                self.next_part(open)
            } else {
                match self.items.next()? {
                    Ok(found) => self.begin(found),
                    Err(error) => {
                        self.desk.break_off(error);
                        None
                    }
                }
            };
            if request.is_some() {
                return request;
            }
        }
        None
    }
}
