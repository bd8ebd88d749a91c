//! The protobuf messages that micro-gw owns: the artifact, the rules, and what both have in one form: limits, how requests travel, and
//! what operations take and answer.

#![allow(clippy::pedantic)] // generated code

pub mod artifact {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.artifact.v1.rs"));
    }
}

pub mod bodies {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.bodies.v1.rs"));
    }
}

pub mod contracts {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.contracts.v1.rs"));
    }
}

pub mod interceptors {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.interceptors.v1.rs"));
    }
}

pub mod limits {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.limits.v1.rs"));
    }
}

pub mod rules {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.rules.v1.rs"));
    }
}

pub mod traffic {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.traffic.v1.rs"));
    }
}

pub mod transforms {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/microgw.transforms.v1.rs"));
    }
}
