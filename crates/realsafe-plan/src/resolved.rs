//! The resolved spec: what was understood, with every default written out, as a spec that gives the same cells.

use std::collections::BTreeMap;
use std::fmt::Write;

use toml::value::{Array, Table, Value as Toml};

use crate::experiment::Filter;
use crate::parameters::digest_key;
use crate::{
    AttackSpec, Budget, Chosen, Claim, Expectation, Experiment, Facet, Figure, Member, Number, Origin, Search,
    SearchSpec, Selector, StackLayer, ThreatSpec, TrainingSpec, Value,
};

impl Experiment {
    /// The experiment as a spec in which nothing is left open: no `extends`, no defaults, digests of all named files.
    pub fn resolved(&self) -> String {
        let mut text = String::new();
        let randomised = self.has_randomised_victims();
        if self.figures.is_empty() {
            line(&mut text, "figure", &Toml::Array(Array::new()));
        }
        section(
            &mut text,
            "[experiment]",
            [
                ("id", Some(string(&self.id))),
                ("title", Some(string(&self.title))),
                ("paper", self.paper.as_ref().map(string)),
                ("seeds", Some(Toml::Array(self.seeds.iter().map(|seed| integer(*seed)).collect()))),
                ("draws", randomised.then(|| integer(u64::from(self.draws)))),
            ],
        );
        data(&mut text, &self.data, &self.samples);
        for model in &self.models {
            section(&mut text, "[[model]]", [("id", Some(string(&model.id)))]);
            component(&mut text, model);
        }
        defenses(&mut text, &self.defenses);
        self.threats.iter().for_each(|spec| threat(&mut text, spec));
        self.attacks.iter().for_each(|spec| attack(&mut text, spec, randomised));
        let stack = |layers: &[StackLayer]| strings(layers.iter().map(|layer| layer.defense.id.as_str()));
        section(
            &mut text,
            "[matrix]",
            [
                ("stacks", Some(Toml::Array(self.stacks.iter().map(|one| stack(&one.layers)).collect()))),
                ("only", filters(&self.only)),
                ("skip", filters(&self.skip)),
            ],
        );
        run(&mut text, self.device.as_ref(), Some(self.chunk));
        self.expectations.iter().for_each(|one| expectation(&mut text, one));
        self.figures.iter().for_each(|one| figure(&mut text, one));
        text
    }
}

impl TrainingSpec {
    /// The training run as a spec in which nothing is left open.
    pub fn resolved(&self) -> String {
        let mut text = String::new();
        section(
            &mut text,
            "[training]",
            [("id", Some(string(&self.id))), ("title", Some(string(&self.title))), ("seed", Some(integer(self.seed)))],
        );
        component(&mut text, &self.recipe);
        data(&mut text, &self.data, &self.samples);
        section(&mut text, "[[model]]", [("id", Some(string(&self.model.id)))]);
        component(&mut text, &self.model);
        defenses(&mut text, &self.defenses);
        for source in &self.sources {
            section(&mut text, "[[source]]", [("id", Some(string(&source.id)))]);
            component(&mut text, source);
        }
        if self.device.is_some() {
            run(&mut text, self.device.as_ref(), None);
        }
        text
    }
}

fn defenses(text: &mut String, layers: &[StackLayer]) {
    for StackLayer { defense, gradient } in layers {
        let entries = [("id", Some(string(&defense.id))), ("gradient", Some(string(gradient.name())))];
        section(text, "[[defense]]", entries);
        component(text, defense);
    }
}

fn section<const N: usize>(text: &mut String, header: &str, entries: [(&str, Option<Toml>); N]) {
    let gap = if text.is_empty() { "" } else { "\n" };
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{gap}{header}");
    for (key, value) in entries {
        if let Some(value) = value {
            line(text, key, &value);
        }
    }
}

fn line(text: &mut String, key: &str, value: &Toml) {
    let _ = writeln!(text, "{key} = {value}");
}

fn component(text: &mut String, chosen: &Chosen) {
    origin(text, chosen);
    chosen.values.components().for_each(|part| origin(text, part));
    line(text, "use", &string(chosen.component.id));
    // In the order of the component's manual.
    for parameter in chosen.component.parameters {
        if let Some(value) = chosen.values.get(parameter.name) {
            line(text, parameter.name, &parameter_value(value));
        }
        let digest = chosen.files.get(parameter.name).map(|file| &file.blake3).filter(|digest| !digest.is_empty());
        if let Some(digest) = digest {
            line(text, &digest_key(parameter.name), &string(digest));
        }
    }
}

/// Says which plugin a component is from.
fn origin(text: &mut String, chosen: &Chosen) {
    if let Origin::Plugin { name, version, blake3 } = chosen.component.origin {
        let (id, digest) = (chosen.component.id, blake3.map_or(String::new(), |blake3| format!(", BLAKE3 {blake3}")));
        // Writing into a string cannot fail.
        let _ = writeln!(text, "# {id} is of the plugin {name} {version}{digest}");
    }
}

fn parameter_value(value: &Value) -> Toml {
    match value {
        Value::Flag(flag) => Toml::Boolean(*flag),
        Value::Count(count) => integer(*count),
        Value::Number(value) => number(value),
        Value::Numbers(values) => Toml::Array(values.iter().map(number).collect()),
        Value::Text(text) => string(text),
        Value::Component(chosen) if chosen.values.iter().next().is_none() => string(chosen.component.id),
        Value::Component(chosen) => nested(chosen),
        // Where they came from does not matter: tables name them however the spec calls its models.
        Value::Components(parts) => Toml::Array(parts.iter().map(nested).collect()),
    }
}

/// A component as a table.
fn nested(chosen: &Chosen) -> Toml {
    let named = [("use".to_owned(), string(chosen.component.id))];
    let values = chosen.values.iter().map(|(name, value)| (name.to_owned(), parameter_value(value)));
    let is_parameter = |name: &str| chosen.values.is_set(name);
    let digests = chosen.files.iter().filter(|(name, file)| is_parameter(name) && !file.blake3.is_empty());
    let digests = digests.map(|(name, file)| (digest_key(name), string(&file.blake3)));
    Toml::Table(named.into_iter().chain(values).chain(digests).collect())
}

fn data(text: &mut String, chosen: &Chosen, samples: &[u32]) {
    section(text, "[data]", []);
    component(text, chosen);
    let contiguous = samples.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    match (samples.first(), samples.last()) {
        (Some(0), Some(last)) if contiguous => line(text, "samples", &integer(u64::from(*last) + 1)),
        (Some(first), Some(last)) if contiguous => {
            let ends = [u64::from(*first), u64::from(*last) + 1];
            line(text, "range", &Toml::Array(ends.into_iter().map(integer).collect()));
        }
        _ => line(text, "indices", &Toml::Array(samples.iter().map(|sample| integer(u64::from(*sample))).collect())),
    }
}

fn threat(text: &mut String, spec: &ThreatSpec) {
    section(
        text,
        "[[threat]]",
        [
            ("id", Some(string(&spec.id))),
            ("norm", Some(string(spec.unit.name))),
            ("eps", (!spec.eps.is_empty()).then(|| Toml::Array(spec.eps.iter().map(number).collect()))),
            ("goal", Some(string(spec.goal.name()))),
            ("target", spec.target.as_ref().map(|target| string(target.name()))),
        ],
    );
}

fn attack(text: &mut String, spec: &AttackSpec, randomised: bool) {
    let choice = &spec.choice;
    let Budget { queries, forwards, backwards } = choice.budget;
    let limits = [("queries", queries), ("forwards", forwards), ("backwards", backwards)];
    let budget: Table = limits.into_iter().filter_map(|(key, limit)| Some((key.to_owned(), integer(limit?)))).collect();
    let gradients: Table = spec.gradients.iter().map(|(id, mode)| (id.clone(), string(mode.name()))).collect();
    let table = |table: Table| (!table.is_empty()).then_some(Toml::Table(table));
    section(text, "[[attack]]", [("id", Some(string(&choice.chosen.id)))]);
    if spec.members.is_empty() {
        component(text, &choice.chosen);
    } else {
        let chain = choice.chosen.component;
        if chain.chain().is_some_and(|traits| traits.members.is_some()) {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "# what {} stands for", chain.id);
        }
        let used = spec.members.values().flatten().map(|member| &*member.chosen);
        let used = used.flat_map(|chosen| [chosen].into_iter().chain(chosen.values.components()));
        let used: BTreeMap<_, _> =
            used.map(|chosen| ((chosen.component.kind(), chosen.component.id), chosen)).collect();
        used.values().for_each(|chosen| origin(text, chosen));
        line(text, "use", &string("chain"));
        let members = spec
            .members
            .iter()
            .map(|(norm, chain)| (norm.name().to_owned(), Toml::Array(chain.iter().map(member).collect())));
        line(text, "members", &Toml::Table(members.collect()));
    }
    let surrogates: Array = choice.surrogates.iter().map(|surrogate| string(&surrogate.id)).collect();
    let record: Array = choice.record.iter().map(|step| integer(u64::from(*step))).collect();
    let attacks = !spec.is_certificate();
    for (key, value) in [
        // Left open, it depends on whether a victim is randomised.
        ("success", (attacks && (spec.asked_success.is_some() || !randomised)).then(|| string(choice.success.name()))),
        ("restarts", (attacks && spec.members.is_empty()).then(|| integer(u64::from(choice.restarts)))),
        ("eot", (choice.eot > 1).then(|| integer(u64::from(choice.eot)))),
        ("search", spec.search.as_ref().map(search)),
        ("budget", table(budget)),
        ("threats", Some(strings(spec.threats.iter().map(String::as_str)))),
        ("gradient", table(gradients)),
        ("record", (!record.is_empty()).then_some(Toml::Array(record))),
        ("surrogates", (!surrogates.is_empty()).then_some(Toml::Array(surrogates))),
        ("ensemble", (choice.surrogates.len() > 1).then(|| string(choice.ensemble.name()))),
    ] {
        if let Some(value) = value {
            line(text, key, &value);
        }
    }
}

fn member(member: &Member) -> Toml {
    let values = member.chosen.values.iter().map(|(name, value)| (name.to_owned(), parameter_value(value)));
    let common = [
        ("id", string(&member.chosen.id)),
        ("use", string(member.chosen.component.id)),
        ("restarts", integer(u64::from(member.restarts))),
    ];
    let eot = (member.eot > 1).then(|| ("eot".to_owned(), integer(u64::from(member.eot))));
    let common = common.map(|(key, value)| (key.to_owned(), value));
    Toml::Table(common.into_iter().chain(eot).chain(values).collect())
}

fn search(search: &SearchSpec) -> Toml {
    let of = |entries: [(&str, Toml); 3]| {
        Toml::Table(entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
    };
    let count = |count: u32| integer(u64::from(count));
    match search {
        SearchSpec::Listed | SearchSpec::Fixed(Search::List(_)) => string("list"),
        SearchSpec::Fixed(Search::Exponential { start, doublings, bisections }) => {
            of([("start", number(start)), ("doublings", count(*doublings)), ("bisections", count(*bisections))])
        }
        SearchSpec::Fixed(Search::Linear { largest, points, bisections }) => {
            of([("largest", number(largest)), ("points", count(*points)), ("bisections", count(*bisections))])
        }
    }
}

fn filters(filters: &[Filter]) -> Option<Toml> {
    let table = |one| Toml::Table(filter(one).map(|(key, names)| (key.to_owned(), names)).collect());
    (!filters.is_empty()).then(|| Toml::Array(filters.iter().map(table).collect()))
}

/// The keys of a filter that name something.
fn filter(filter: &Filter) -> impl Iterator<Item = (&'static str, Toml)> {
    let axes =
        [("model", &filter.model), ("stack", &filter.stack), ("attack", &filter.attack), ("threat", &filter.threat)];
    let written = axes.into_iter().filter(|(_, names)| !names.is_empty());
    written.map(|(key, names)| (key, strings(names.iter().map(String::as_str))))
}

fn run(text: &mut String, device: Option<&String>, chunk: Option<u32>) {
    let chunk = chunk.map(|chunk| integer(u64::from(chunk)));
    section(text, "[run]", [("device", device.map(string)), ("chunk", chunk)]);
}

fn expectation(text: &mut String, expectation: &Expectation) {
    section(text, "[[expect]]", [("metric", Some(string(expectation.metric.name())))]);
    for (key, value) in selector(&expectation.selector) {
        line(text, key, &value);
    }
    match &expectation.claim {
        Claim::Value { value, tolerance, samples } => {
            line(text, "value", &Toml::Float(*value));
            line(text, "tolerance", &Toml::Float(*tolerance));
            if let Some(samples) = samples {
                line(text, "samples", &integer(*samples));
            }
        }
        Claim::Order { relation, other, from_eps, factor, margin } => {
            let other = selector(other).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            line(text, relation.name(), &Toml::Table(other));
            if let Some(eps) = from_eps {
                line(text, "from-eps", &number(eps));
            }
            if !expectation.metric.is_rate() {
                line(text, "factor", &Toml::Float(*factor));
            }
            line(text, "margin", &Toml::Float(*margin));
        }
    }
    if let Some(source) = &expectation.source {
        line(text, "source", &string(source));
    }
}

fn figure(text: &mut String, figure: &Figure) {
    let facets = |facets: &[Facet]| Some(strings(facets.iter().map(|facet| facet.name())));
    section(
        text,
        "[[figure]]",
        [
            ("id", Some(string(&figure.id))),
            ("title", (!figure.title.is_empty()).then(|| string(&figure.title))),
            ("x-axis", Some(string(figure.axis.name()))),
            ("scale", Some(string(if figure.logarithmic { "log" } else { "linear" }))),
            ("panels", facets(&figure.panels)),
            ("series", facets(&figure.series)),
            ("eps", (!figure.eps.is_empty()).then(|| Toml::Array(figure.eps.iter().map(number).collect()))),
        ],
    );
    filter(&figure.filter).for_each(|(key, names)| line(text, key, &names));
}

fn selector(selector: &Selector) -> Vec<(&'static str, Toml)> {
    let entries = [
        ("model", Some(string(&selector.model))),
        ("stack", Some(string(&selector.stack))),
        ("attack", Some(string(selector.attack.name()))),
        ("threat", selector.threat.as_ref().map(string)),
        ("eps", selector.eps.as_ref().map(number)),
        ("seed", selector.seed.map(integer)),
    ];
    entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn string(text: impl AsRef<str>) -> Toml {
    Toml::String(text.as_ref().to_owned())
}

fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> Toml {
    Toml::Array(texts.map(string).collect())
}

fn integer(count: u64) -> Toml {
    // Larger numbers cannot be written in TOML, and so do not come from it.
    Toml::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A number, as a string so that fractions stay exact.
fn number(number: &Number) -> Toml {
    string(number.text())
}
