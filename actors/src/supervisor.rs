//! The root of the tree: it watches the directory, the persistence actor and
//! the sessions. A session that fails costs its own connection: its client is
//! told to come back, and its branes let go of it. Without the other two
//! nothing can go on: the process ends, and what is durable is there when it
//! starts again.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::error;

use crate::registry::Registry;
use crate::session_actor::SessionMsg;

pub(crate) struct Supervisor;

pub(crate) struct SupervisorArguments {
    pub(crate) registry: Arc<Registry>,
}

impl Actor for Supervisor {
    type Msg = ();
    type State = Arc<Registry>;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        arguments: SupervisorArguments,
    ) -> Result<Arc<Registry>, ActorProcessingErr> {
        Ok(arguments.registry)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        registry: &mut Arc<Registry>,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                let is_session = actor.is_message_type_of::<SessionMsg>() == Some(true);
                error!(%error, is_session, "an actor failed");
                if is_session {
                    registry.failed(actor.get_id());
                    return Ok(());
                }
                // Ends this actor, and with it the system.
                Err(error)
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}
