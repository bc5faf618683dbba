//! Independent streams of chance: one per seed, customer and purpose, so that customers can be generated in any order.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma, Poisson, StandardNormal};

/// What a stream of chance is for; two purposes never share numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Life = 1,
    Portfolio = 2,
    Terms = 3,
    Machines = 4,
    Days = 5,
    Delivery = 6,
    Grid = 7,
    Newcomer = 8,
    Traffic = 9,
    Chaos = 10,
}

/// Returns the stream of one customer (or candidate) and purpose.
pub(crate) fn stream(seed: u64, index: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.set_stream(purpose as u64);
    rng
}

/// The draws that the model needs, with parameters that may come from arithmetic: nonsense falls back to the mean.
pub(crate) trait Draw: Rng {
    fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let z: f64 = StandardNormal.sample(self);
        mean + deviation * z
    }

    fn exponential(&mut self) -> f64 {
        Exp1.sample(self)
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random::<f64>() < probability
    }

    fn poisson(&mut self, mean: f64) -> u32 {
        if mean <= 0.0 {
            return 0;
        }
        Poisson::new(mean.min(1e6)).map_or(0, |poisson| poisson.sample(self) as u32)
    }

    fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        Gamma::new(shape.max(1e-6), scale.max(1e-9)).map_or(shape * scale, |gamma| gamma.sample(self))
    }

    /// A share drawn around `mean`, with the given correlation between the trials that share it.
    fn beta(&mut self, mean: f64, correlation: f64) -> f64 {
        let size = (1.0 - correlation) / correlation;
        let (a, b) = (self.gamma(mean * size, 1.0), self.gamma((1.0 - mean) * size, 1.0));
        if a + b > 0.0 { a / (a + b) } else { mean }
    }

    fn binomial(&mut self, trials: u32, probability: f64) -> u32 {
        (0..trials).filter(|_| self.chance(probability)).count() as u32
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.random_range(0..items.len())]
    }

    /// Picks an index in proportion to its weight.
    fn pick_weighted(&mut self, weights: &[f64]) -> usize {
        let mut point = self.random::<f64>() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            if point < *weight {
                return index;
            }
            point -= weight;
        }
        weights.len().saturating_sub(1)
    }
}

impl<R: Rng + ?Sized> Draw for R {}
