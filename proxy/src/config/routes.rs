//! The list of routes: those of the file, or the one default.

use super::{
    Fault, defaults,
    named::Named,
    route::{self, Placed},
    section::Section,
};
use crate::decide::{Access, IssuerId, Pattern, Policy, PolicyFault, Route, UpstreamId};

pub(super) fn read(root: &mut Section<'_>, named: &Named<'_>) -> Option<Policy> {
    if !root.has("route") {
        root.pass_over("route");
        return default_policy(root, named);
    }
    let routes = root.each("route", Vec::new(), |section| route::read(section, named));
    let complete = routes.iter().all(Option::is_some);
    let routes: Vec<Placed> = routes.into_iter().flatten().collect();
    let placed: Vec<_> = routes.iter().map(|placed| (placed.key.clone(), placed.place.clone())).collect();
    let routes: Vec<Route> = routes.into_iter().map(|placed| placed.route).collect();
    let paths: Vec<String> = routes.iter().map(|route| route.pattern.as_str().to_owned()).collect();
    match Policy::new(routes) {
        Ok(policy) => complete.then_some(policy),
        Err(faults) => {
            for PolicyFault::Ambiguous { first, second } in faults {
                let (key, place) = placed[second].clone();
                let found =
                    format!("{:?}, which matches what {} {:?} matches", paths[second], placed[first].0, paths[first]);
                let wanted = "a path or methods that tell the two apart";
                root.loader.report(Fault::new(place, key, found, wanted));
            }
            None
        }
    }
}

/// One route for each user's own paths.
fn default_policy(root: &Section<'_>, named: &Named<'_>) -> Option<Policy> {
    for (list, name) in [(named.issuers.len(), "issuers"), (named.upstreams.len(), "upstreams")] {
        if list > 1 {
            let wanted = format!("[[route]] tables, as there are several {name} to choose from");
            root.loader.report(root.fault_at("route", "nothing", wanted));
            return None;
        }
    }
    let route = Route {
        pattern: Pattern::parse(defaults::PATH).ok()?,
        access: Access::Owner { capture: defaults::OWNER.into() },
        issuers: [IssuerId(0)].into(),
        methods: [].into(),
        scopes: [].into(),
        roles: [].into(),
        upstream: UpstreamId(0),
        forward_credentials: false,
        body_bytes: None,
        response_head: None,
        exchange: None,
        end_at_expiry: true,
        cors: None,
        rate_limit: None,
        enforce: true,
    };
    Policy::new(vec![route]).ok()
}
