//! The root of the tree: it watches the directory, the persistence actor and
//! the sessions. A session that fails costs its own connection. Without the
//! other two nothing can go on: the process ends, and what is durable is there
//! when it starts again.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::error;

use crate::session_actor::SessionMsg;

pub(crate) struct Supervisor;

pub(crate) struct SupervisorArguments;

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        _arguments: SupervisorArguments,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                let is_session = actor.is_message_type_of::<SessionMsg>() == Some(true);
                error!(%error, is_session, "an actor failed");
                // Ends this actor, and with it the system.
                if is_session { Ok(()) } else { Err(error) }
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}
