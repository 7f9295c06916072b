//! Settings that are known to work, by name.

use serde::{Deserialize, Serialize};

use super::optimizer::OptimizerConfig;
use super::settings::{Clipping, Schedule, Settings};
use crate::augment::Augmentation;
use crate::data::{DatasetKind, Normalization};
use crate::network::{DeepConfig, NetworkConfig, SimpleConvConfig};

/// The settings of the paper's experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// ResNet-18 by Adam: 120 epochs, learning rate 1e-3, times 0.1 after every 40 epochs, weight decay
    /// 1e-4.
    Mnist,
    /// ResNet-18 by SGD: 200 epochs, learning rate 0.1, times 0.1 after every 40 epochs, momentum 0.9,
    /// weight decay 5e-4.
    Cifar10,
    /// One convolution and one dense layer by SGD: 120 epochs, learning rate 1e-3, momentum 0.9; images
    /// are mirrored at random and their pixels are 0 to 1, as in the code of the paper.
    Simple,
}

impl Recipe {
    /// The settings for a data set, without clipping; batches have 128 images.
    pub fn settings(self, kind: DatasetKind, threads: usize) -> Settings {
        let step = Some(Schedule {
            epochs: 40,
            factor: 0.1,
        });
        let deep = NetworkConfig::ResNet18(DeepConfig {
            input: kind.shape(),
            batch_norm: true,
            classes: kind.classes().len(),
        });
        let usual = Settings {
            network: deep,
            epochs: 120,
            steps: None,
            batch: 128,
            optimizer: OptimizerConfig::Adam { weight_decay: 1e-4 },
            learning_rate: 1e-3,
            schedule: step,
            augmentation: Augmentation::usual(kind),
            normalization: kind.normalization(),
            clipping: Clipping::default(),
            seed: 0,
            threads,
        };
        match self {
            Self::Mnist => usual,
            Self::Cifar10 => Settings {
                epochs: 200,
                optimizer: OptimizerConfig::Sgd {
                    momentum: 0.9,
                    weight_decay: 5e-4,
                },
                learning_rate: 0.1,
                ..usual
            },
            Self::Simple => Settings {
                network: NetworkConfig::SimpleConv(SimpleConvConfig {
                    input: kind.shape(),
                    classes: kind.classes().len(),
                    ..SimpleConvConfig::default()
                }),
                optimizer: OptimizerConfig::Sgd {
                    momentum: 0.9,
                    weight_decay: 0.0,
                },
                schedule: None,
                augmentation: Augmentation {
                    padding: 0,
                    flip: true,
                },
                normalization: Normalization::UNIT,
                ..usual
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rates() {
        let settings = Recipe::Cifar10.settings(DatasetKind::Cifar10, 1);
        let rates = [0, 39, 40, 80, 199].map(|epoch| settings.learning_rate_in(epoch));
        let expected = [0.1, 0.1, 0.01, 0.001, 1e-5];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate / expected - 1.0).abs() < 1e-12, "{rates:?}");
        }
        let simple = Recipe::Simple.settings(DatasetKind::Mnist, 1);
        assert_eq!(simple.learning_rate_in(119), 1e-3);
    }

    #[test]
    fn every_recipe_is_valid_and_survives_json() {
        for recipe in [Recipe::Mnist, Recipe::Cifar10, Recipe::Simple] {
            for kind in [DatasetKind::Mnist, DatasetKind::Cifar10] {
                let settings = recipe.settings(kind, 2);
                settings.check(kind).unwrap();
                let json = serde_json::to_string(&settings).unwrap();
                let back: Settings = serde_json::from_str(&json).unwrap();
                assert_eq!(back, settings);
            }
        }
    }
}
