//! Plans with a field or a few changed.

use heman_core::ckks::bootstrap::recipe::{MAPS, Recipe};
use heman_core::ckks::params::layout::Layout;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::plan::Plan as CkksPlan;
use heman_core::ckks::plan::activation::Form;
use heman_core::ckks::plan::polynomials::{Closing, Scaling};
use heman_core::ckks::plan::refresh::Refresh;
use heman_core::ckks::plan::steps::Steps;
use heman_core::either::plan::Plan;
use heman_core::files::chunks::Reader;
use heman_core::files::sealed::Sealed;
use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::{Row, Tap};
use heman_core::tfhe::plan::Plan as TfhePlan;
use heman_core::tfhe::plan::affine::AffineMap;

use crate::json;
use crate::random::Random;

/// A plan like a sound one, with a few fields changed; none if the seed is none.
#[must_use]
pub fn mutated(seed: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let plan = Reader::of_bytes(seed).and_then(Plan::open).ok()?;
    let times = 1 + random.below(3);
    Some(match plan {
        Plan::Tfhe(mut plan) => {
            (0..times).for_each(|_| tfhe(&mut plan, random));
            plan.seal(&())
        }
        Plan::Ckks(mut plan) => {
            (0..times).for_each(|_| ckks(&mut plan, random));
            plan.seal(&())
        }
    })
}

/// Parameters with something changed, if they are still of their form.
fn params<T: serde::de::DeserializeOwned>(text: String, random: &mut Random) -> Option<T> {
    let mut text = text.into_bytes();
    json::mutate(&mut text, random);
    serde_json::from_slice(&text).ok()
}

fn size(of: &mut usize, random: &mut Random) {
    *of = if random.once_in(2) {
        of.wrapping_add(1).wrapping_sub(2 * random.below(2))
    } else {
        random.integer() as usize
    };
}

/// Changes one element, or the length.
fn list<T: Clone>(of: &mut Vec<T>, random: &mut Random, change: impl FnOnce(&mut T, &mut Random)) {
    if of.is_empty() {
        return;
    }
    let at = random.below(of.len());
    match random.below(6) {
        0 => drop(of.remove(at)),
        1 => of.push(of[at].clone()),
        2 => of.clear(),
        _ => change(&mut of[at], random),
    }
}

fn name(of: &mut String, random: &mut Random) {
    *of = if random.once_in(2) { "n".repeat(1 << random.below(18)) } else { "\u{1b}[31m\u{9b}".into() };
}

fn function(of: &mut Function, random: &mut Random) {
    let own = std::mem::replace(of, Function::X);
    *of = match random.below(5) {
        0 => Function::Constant(random.real()),
        1 => (0..random.below(100)).fold(own, |inner, _| Function::Unary(Unary::Sin, Box::new(inner))),
        2 => (0..random.below(12))
            .fold(own, |inner, _| Function::Binary(Binary::Mul, Box::new(inner.clone()), Box::new(inner))),
        3 => Function::Unary(Unary::Celu(random.real()), Box::new(own)),
        _ => Function::Binary(Binary::Pow, Box::new(own), Box::new(Function::Constant(random.real()))),
    };
}

fn affine(map: &mut AffineMap, random: &mut Random) {
    match random.below(8) {
        0 => size(&mut map.rows, random),
        1 => list(&mut map.bias, random, |bias, random| *bias = random.integer() as u32),
        _ => list(&mut map.blocks, random, |block, random| match random.below(6) {
            0 => size(&mut block.terms, random),
            1 => size(&mut block.kernels, random),
            2 => size(&mut block.positions, random),
            3 => list(&mut block.weights, random, |weight, random| *weight = random.integer() as i16),
            4 => list(&mut block.picks, random, |pick, random| *pick = random.integer() as u32),
            _ => list(&mut block.targets, random, |target, random| *target = random.integer() as u32),
        }),
    }
}

fn tfhe(plan: &mut TfhePlan, random: &mut Random) {
    match random.below(8) {
        0 => {
            if let Some(own) = params(plan.params.to_json(), random) {
                plan.params = own;
            }
        }
        1 => name(&mut plan.output_operator, random),
        2 => affine(&mut plan.output, random),
        _ => list(&mut plan.stages, random, |stage, random| match random.below(6) {
            0 => name(if random.once_in(2) { &mut stage.name } else { &mut stage.operator }, random),
            1 => list(&mut stage.shape, random, size),
            2 => list(&mut stage.table_of_value, random, |table, random| *table = random.integer() as u32),
            3 => affine(&mut stage.affine, random),
            _ => list(&mut stage.tables, random, |table, random| match random.below(6) {
                0 => table.origin = random.real(),
                1 => table.turns_per_unit = random.real(),
                2 => table.step = random.once_in(2).then(|| random.real()),
                3 => table.output_origin = random.real(),
                4 => table.output_turns_per_unit = random.real(),
                _ => function(&mut table.function, random),
            }),
        }),
    }
}

fn rows(of: &mut Vec<Row>, random: &mut Random) {
    list(of, random, |row, random| {
        if random.once_in(3) {
            row.bias = random.real();
            return;
        }
        let mut taps = row.taps.to_vec();
        list(&mut taps, random, |tap: &mut Tap, random| {
            if random.once_in(2) {
                tap.source = random.integer() as u32;
            } else {
                tap.weight = random.real() as f32;
            }
        });
        row.taps = taps.into();
    });
}

fn layout(of: &mut Layout, random: &mut Random) {
    match random.below(9) {
        0 => size(&mut of.shape[random.below(3)], random),
        1 => size(&mut of.gap, random),
        2 => size(&mut of.channels_per_block, random),
        3 => size(&mut of.pitch, random),
        4 => size(&mut of.block, random),
        5 => size(&mut of.blocks_per_ciphertext, random),
        6 => of.period = 1 << random.below(64),
        7 => size(&mut of.skew, random),
        _ => of.ring = 1 << random.below(64),
    }
}

fn steps(of: &mut Steps, random: &mut Random) {
    if random.once_in(3) {
        let place = vec![random.below(4); random.below(4)];
        of.places.insert(random.integer() as usize, place);
        return;
    }
    list(&mut of.axes, random, |axis, random| match random.below(4) {
        0 => axis.start = random.integer() as i64,
        1 => size(&mut axis.step, random),
        2 => size(&mut axis.count, random),
        _ => size(&mut axis.babies, random),
    });
}

fn scaling(of: &mut Scaling, random: &mut Random) {
    match random.below(3) {
        0 => of.argument_log2 = random.once_in(8).then(|| random.integer() as u32).or(Some(random.below(80) as u32)),
        1 => of.rescales = !of.rescales,
        _ => of.closing = random.pick(&[Closing::Value, Closing::Sum, Closing::Output]),
    }
}

fn form(random: &mut Random) -> Form {
    let gain = if random.once_in(2) { 1.0 } else { random.real() };
    match random.below(6) {
        0 => Form::Product { gain },
        1 => Form::Square { gain, shift: random.real(), constant: random.real() },
        2 => Form::Octic { gain, rest: [0.5; 8] },
        3 | 4 => Form::Seventh { gain, constants: std::array::from_fn(|_| random.real()) },
        _ => Form::Fifteenth { gain, constants: [0.25; 16] },
    }
}

fn recipe(of: &mut Recipe, params: &ParameterSet, random: &mut Random) {
    match random.below(8) {
        0 => of.bound = random.real(),
        1 => of.ratio_log2 = random.integer() as u32,
        2 => of.input_scale = random.real(),
        3 => of.output_scale = random.real(),
        4 => of.log2_slots = random.integer() as u32,
        5 => of.maps[random.below(MAPS)].depths = random.integer() as u32,
        6 => size(&mut of.maps[random.below(MAPS)].babies, random),
        // A sound one for more slots.
        _ => {
            let scales = [of.input_scale, of.output_scale];
            let other = Recipe::new(params, random.below(17) as u32, of.bound, of.ratio_log2, scales);
            *of = other.unwrap_or_else(|_| of.clone());
        }
    }
}

fn refresh(of: &mut Option<Refresh>, params: &ParameterSet, random: &mut Random) {
    match of {
        None => {
            let own = Recipe::new(params, 3, 1.0, 10, [f64::from(params.scale_log2).exp2(); 2]);
            *of = own.ok().map(|recipe| Refresh { recipe, after: vec![random.below(3)] });
        }
        Some(refresh) => match random.below(8) {
            0 => *of = None,
            1..4 => list(&mut refresh.after, random, size),
            _ => recipe(&mut refresh.recipe, params, random),
        },
    }
}

fn ckks(plan: &mut CkksPlan, random: &mut Random) {
    let network = &mut plan.network;
    match random.below(11) {
        0 => {
            if let Some(own) = params(plan.params.to_json(), random) {
                plan.params = own;
            }
        }
        1 => network.output_bound = random.real(),
        2 => rows(&mut network.output_rows, random),
        3 => name(&mut network.output_operator, random),
        4 => list(&mut network.input.shape, random, size),
        5 => refresh(&mut network.refresh, &plan.params.ckks, random),
        6..9 => list(&mut network.stages, random, |stage, random| match random.below(8) {
            0 => name(if random.once_in(2) { &mut stage.name } else { &mut stage.operator }, random),
            1 => list(&mut stage.shape, random, size),
            2 => rows(&mut stage.rows, random),
            3 => rows(&mut stage.factors, random),
            4 => list(&mut stage.channel, random, |channel, random| *channel = random.integer() as u32),
            5 => scaling(&mut stage.scaling, random),
            6 => {
                let form = form(random);
                stage.activations.iter_mut().for_each(|activation| activation.form = form);
            }
            _ => list(&mut stage.activations, random, |activation, random| {
                *(if random.once_in(2) { &mut activation.centre } else { &mut activation.radius }) = random.real();
            }),
        }),
        _ => {
            let Some(latency) = &mut plan.latency else { return };
            match random.below(4) {
                0 => size(&mut latency.lanes, random),
                1 => layout(&mut latency.input, random),
                2 => list(&mut latency.seconds, random, |seconds, random| {
                    *[&mut seconds.switching, &mut seconds.products][random.below(2)] = random.real();
                }),
                _ => list(&mut latency.maps, random, |map, random| match random.below(5) {
                    0 => size(&mut map.sets, random),
                    1 => map.period = 1 << random.below(64),
                    2 => layout(&mut map.output, random),
                    _ => list(&mut map.operands, random, |operand, random| match random.below(3) {
                        0 => size(&mut operand.tensor, random),
                        1 => steps(&mut operand.steps, random),
                        _ => operand.window = Some(operand.steps.clone()),
                    }),
                }),
            }
        }
    }
}
