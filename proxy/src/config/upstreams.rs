//! The list of upstreams: those of the file, or the one that a flag names.

use super::{
    Upstream, defaults,
    given::refuse_over_several,
    named::{self, NameList},
    section::{Overrides, Section},
};

pub(super) fn read(root: &mut Section<'_>, over: Overrides) -> NameList<Upstream> {
    let loader = root.loader;
    match root.count("upstream") {
        0 if over.is_empty() => {
            let wanted = "the application: --upstream URL, OWNERGATE_UPSTREAM, or [upstream.NAME] with a url in a file";
            loader.report(root.fault_at("upstream", "nothing", wanted));
            root.pass_over("upstream");
            Vec::new()
        }
        0 => {
            root.pass_over("upstream");
            let place = (format!("upstream.{}", defaults::NAME), loader.nowhere());
            let upstream = Section::read(loader, place, None, over, |section| Upstream::read(section, defaults::NAME));
            vec![(defaults::NAME.into(), upstream)]
        }
        count => {
            if count > 1 {
                refuse_over_several(over.iter().map(|(_, given)| &given.place), "upstream", loader);
            }
            let over = if count > 1 { Vec::new() } else { over };
            root.named("upstream", over, |name, section| {
                let upstream = Upstream::read(section, &name.value);
                (name.value.as_str().into(), loader.accept(named::name(name)).and(upstream))
            })
        }
    }
}
