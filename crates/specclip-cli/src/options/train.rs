//! What the arguments of `specclip train` mean: the settings of a run.

use specclip::operator::PaddingMode;
use specclip_lab::DatasetKind;
use specclip_lab::network::{DeepConfig, NetworkConfig, SimpleConvConfig};
use specclip_lab::train::{
    BatchNorms, ClipMethod, OptimizerConfig, Recipe, Schedule, Settings, Target,
};

use crate::cli::train::{
    BatchNormArg, ClippingArgs, ConvArgs, LearningArgs, ModelArg, OptimizerArg, PaddingArg,
    RecipeArg, TrainArgs, TrainMethodArg,
};
use crate::error::Error;

/// The settings that the arguments ask for on images of this kind: those of the recipe with what is given
/// put in their place, or, if neither recipe nor network is named, those of the run that has begun.
pub fn settings(
    args: &TrainArgs,
    kind: DatasetKind,
    begun: Option<Settings>,
) -> Result<Settings, Error> {
    let threads = rayon::current_num_threads();
    let mut settings = match (begun, args.recipe, args.model) {
        (Some(begun), None, None) => begun,
        (None, None, None) => {
            return Err(Error::Usage(
                "a new run needs a network; name one with --recipe or --model".into(),
            ));
        }
        (_, recipe, model) => usual(recipe, model, kind).settings(kind, threads),
    };
    if let Some(model) = args.model {
        settings.network = network(model, settings.network, kind);
    }
    if let Some(choice) = args.clipping.batch_norm {
        *batch_norm(&mut settings.network) = choice != BatchNormArg::None;
    }
    convolution(&mut settings.network, &args.conv)?;
    learn(&mut settings, &args.learning)?;
    clip(&mut settings, &args.clipping)?;
    if let Some(seed) = args.seed {
        settings.seed = seed;
    }
    if let Some(threads) = args.threads {
        settings.threads = threads;
    }
    Ok(settings)
}

/// The recipe that is named, or the one for the network and the data.
fn usual(recipe: Option<RecipeArg>, model: Option<ModelArg>, kind: DatasetKind) -> Recipe {
    match (recipe, model, kind) {
        (Some(RecipeArg::Mnist), ..) => Recipe::Mnist,
        (Some(RecipeArg::Cifar10), ..) => Recipe::Cifar10,
        (Some(RecipeArg::Simple), ..) | (None, Some(ModelArg::SimpleConv), _) => Recipe::Simple,
        (None, _, DatasetKind::Cifar10) => Recipe::Cifar10,
        (None, ..) => Recipe::Mnist,
    }
}

/// The network that is named; the recipe's, if that is of its kind.
fn network(model: ModelArg, usual: NetworkConfig, kind: DatasetKind) -> NetworkConfig {
    let input = kind.shape();
    let classes = kind.classes().len();
    let deep = || DeepConfig {
        input,
        batch_norm: true,
        classes,
    };
    match (model, usual) {
        (ModelArg::SimpleConv, usual @ NetworkConfig::SimpleConv(_)) => usual,
        (ModelArg::SimpleConv, _) => NetworkConfig::SimpleConv(SimpleConvConfig {
            input,
            classes,
            ..SimpleConvConfig::default()
        }),
        (ModelArg::ResNet18, _) => NetworkConfig::ResNet18(deep()),
        (ModelArg::Dla, _) => NetworkConfig::Dla(deep()),
    }
}

fn batch_norm(network: &mut NetworkConfig) -> &mut bool {
    match network {
        NetworkConfig::SimpleConv(config) => &mut config.batch_norm,
        NetworkConfig::ResNet18(config) | NetworkConfig::Dla(config) => &mut config.batch_norm,
    }
}

fn convolution(network: &mut NetworkConfig, args: &ConvArgs) -> Result<(), Error> {
    let ConvArgs {
        channels,
        kernel,
        stride,
        padding,
        padding_mode,
    } = *args;
    let given = [channels, kernel, stride, padding]
        .iter()
        .any(Option::is_some);
    let NetworkConfig::SimpleConv(config) = network else {
        if given || padding_mode.is_some() {
            return Err(Error::Usage(
                "--channels, --kernel, --stride, --padding and --padding-mode are of --model simple-conv; \
                 leave them out"
                    .into(),
            ));
        }
        return Ok(());
    };
    let set = |place: &mut usize, value: Option<usize>| *place = value.unwrap_or(*place);
    set(&mut config.channels, channels);
    set(&mut config.kernel, kernel);
    set(&mut config.stride, stride);
    set(&mut config.padding, padding);
    if let Some(mode) = padding_mode {
        config.mode = match mode {
            PaddingArg::Zeros => PaddingMode::Zeros,
            PaddingArg::Reflect => PaddingMode::Reflect,
            PaddingArg::Replicate => PaddingMode::Replicate,
            PaddingArg::Circular => PaddingMode::Circular,
        };
    }
    Ok(())
}

fn learn(settings: &mut Settings, args: &LearningArgs) -> Result<(), Error> {
    let epochs = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    settings.epochs = args.epochs.map_or(settings.epochs, epochs);
    settings.steps = args.steps.map(|steps| steps as u64).or(settings.steps);
    settings.batch = args.batch.unwrap_or(settings.batch);
    settings.learning_rate = args.lr.unwrap_or(settings.learning_rate);
    if let Some(step) = args.lr_step {
        let factor = settings.schedule.map_or(0.1, |schedule| schedule.factor);
        settings.schedule = Some(Schedule {
            epochs: epochs(step),
            factor,
        });
    }
    match (&mut settings.schedule, args.lr_factor) {
        (_, None) => {}
        (Some(schedule), Some(factor)) => schedule.factor = factor,
        (None, Some(_)) => {
            return Err(Error::Usage(
                "--lr-factor needs epochs after which it is applied; name them with --lr-step"
                    .into(),
            ));
        }
    }
    optimize(&mut settings.optimizer, args)
}

fn optimize(optimizer: &mut OptimizerConfig, args: &LearningArgs) -> Result<(), Error> {
    let decay = match *optimizer {
        OptimizerConfig::Sgd { weight_decay, .. } | OptimizerConfig::Adam { weight_decay } => {
            args.weight_decay.unwrap_or(weight_decay)
        }
    };
    let usual = match *optimizer {
        OptimizerConfig::Sgd { momentum, .. } => momentum,
        OptimizerConfig::Adam { .. } => 0.9,
    };
    let sgd = match args.optimizer {
        None => matches!(optimizer, OptimizerConfig::Sgd { .. }),
        Some(asked) => asked == OptimizerArg::Sgd,
    };
    if !sgd && args.momentum.is_some() {
        return Err(Error::Usage(
            "--momentum is of --optimizer sgd, not of adam; leave one of them out".into(),
        ));
    }
    *optimizer = if sgd {
        OptimizerConfig::Sgd {
            momentum: args.momentum.unwrap_or(usual),
            weight_decay: decay,
        }
    } else {
        OptimizerConfig::Adam {
            weight_decay: decay,
        }
    };
    Ok(())
}

fn clip(settings: &mut Settings, args: &ClippingArgs) -> Result<(), Error> {
    let clipping = &mut settings.clipping;
    let all = args.norm.map(|norm| ("*".to_owned(), norm));
    let targets: Vec<Target> = all
        .into_iter()
        .chain(args.layer.iter().cloned())
        .map(|(layers, norm)| Target { layers, norm })
        .collect();
    if !targets.is_empty() {
        clipping.targets = targets;
        if clipping.method == ClipMethod::None {
            clipping.method = ClipMethod::Projection;
        }
    }
    if let Some(method) = args.method {
        clipping.method = match method {
            TrainMethodArg::None => ClipMethod::None,
            TrainMethodArg::Projection => ClipMethod::Projection,
            TrainMethodArg::FastClip => ClipMethod::FastClip,
            TrainMethodArg::Scale => ClipMethod::Scale,
            TrainMethodArg::Frequency => ClipMethod::Frequency,
            TrainMethodArg::ScaleEachStep => ClipMethod::ScaleEachStep,
            TrainMethodArg::SpectralNorm => ClipMethod::SpectralNorm,
            TrainMethodArg::GramPenalty => ClipMethod::GramPenalty,
            TrainMethodArg::SoftCap => ClipMethod::SoftCap,
            TrainMethodArg::Hammer => ClipMethod::Hammer,
        };
    }
    if clipping.method == ClipMethod::None && !clipping.targets.is_empty() {
        return Err(Error::Usage(
            "--method none clips nothing, and a norm is given; leave one of the two out".into(),
        ));
    }
    if let Some(weight) = args.penalty_weight {
        if clipping.method != ClipMethod::GramPenalty {
            return Err(Error::Usage(
                "--penalty-weight is of --method gram-penalty; leave it out".into(),
            ));
        }
        clipping.penalty_weight = weight;
    }
    if args.every.is_some() && !clipping.method.clips_now_and_then() {
        let why = match clipping.method {
            ClipMethod::None => "none is; name a norm with --norm".to_owned(),
            method => format!("{} works in every step; leave it out", method.name()),
        };
        return Err(Error::Usage(format!(
            "--every says how often layers are clipped, and {why}"
        )));
    }
    clipping.every = args.every.map_or(clipping.every, |every| every as u64);
    if let Some(choice) = args.batch_norm {
        clipping.batch_norms = match choice {
            BatchNormArg::Keep | BatchNormArg::None => BatchNorms::Keep,
            BatchNormArg::Clip => BatchNorms::Clip,
            BatchNormArg::Compose => BatchNorms::Compose,
        };
    }
    Ok(())
}
