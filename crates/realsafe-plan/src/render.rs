//! The looks of a [`Diagnostic`]; the only file that knows the library behind them.

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use crate::Diagnostic;

/// The diagnostic as lines of text, with ANSI colours if wanted.
pub(crate) fn render(diagnostic: &Diagnostic, colour: bool) -> String {
    let mut elements: Vec<Element<'_>> = Vec::new();
    if let Some(place) = &diagnostic.place {
        let label = Some(diagnostic.label.as_str()).filter(|label| !label.is_empty());
        let caret = AnnotationKind::Primary.span(place.span.clone()).label(label);
        let text = place.source.text.as_str();
        elements.push(Snippet::source(text).path(place.source.name.as_str()).annotation(caret).into());
    }
    elements.extend(diagnostic.help.as_deref().map(|help| Level::HELP.message(help).into()));
    let group = Level::ERROR.primary_title(diagnostic.message.as_str()).elements(elements);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}
