//! The bugs of appending.

use avvy_model::{BraneId, Seq};

use super::{Broken, Bug};
use crate::chunk::{AppendRefusal, ChunkWrite};
use crate::error::StoreError;

type Answers = Vec<Result<(), AppendRefusal>>;

impl Broken {
    pub(super) async fn append_wrongly(
        &self,
        mut chunks: Vec<ChunkWrite>,
    ) -> Result<Answers, StoreError> {
        match self.bug {
            Bug::AcknowledgesWithoutStoring => Ok(vec![Ok(()); chunks.len()]),
            Bug::LosesTheLastChunkInACrash => self.hold_back(chunks).await,
            Bug::DropsTheEndOfAGroup => {
                let dropped = if chunks.len() > 1 { chunks.pop() } else { None };
                let mut answers = self.inner.append(chunks).await?;
                answers.extend(dropped.map(|_| Ok(())));
                Ok(answers)
            }
            Bug::Reorders => {
                let is_pair = chunks.len() > 1 && chunks[0].brane == chunks[1].brane;
                if let (true, [first, second, ..]) = (is_pair, chunks.as_mut_slice()) {
                    std::mem::swap(&mut first.body, &mut second.body);
                }
                self.inner.append(chunks).await
            }
            Bug::AnswersOutOfOrder => {
                let mut answers = self.inner.append(chunks).await?;
                answers.reverse();
                Ok(answers)
            }
            Bug::NeverRaisesTheEpoch => {
                for chunk in &mut chunks {
                    chunk.epoch = self.epoch(chunk.brane);
                }
                self.inner.append(chunks).await
            }
            Bug::FailsAGroupForAStaleChunk => {
                if chunks.iter().any(|chunk| chunk.epoch < self.epoch(chunk.brane)) {
                    return Err(StoreError::Io("one of them is stale".into()));
                }
                self.inner.append(chunks).await
            }
            Bug::FailsAGroupForADamagedBrane => {
                let answers = self.inner.append(chunks).await?;
                match answers.contains(&Err(AppendRefusal::Damaged)) {
                    true => Err(StoreError::Io("one of them is damaged".into())),
                    false => Ok(answers),
                }
            }
            _ => self.append_one_by_one(chunks).await,
        }
    }

    /// Bugs that depend on what the store says of a chunk.
    async fn append_one_by_one(&self, chunks: Vec<ChunkWrite>) -> Result<Answers, StoreError> {
        let mut answers = Vec::new();
        for chunk in chunks {
            let is_retry = !self.state().seen.insert((chunk.brane, chunk.from, chunk.to));
            let answer = match (self.bug, self.ask(chunk.clone()).await?) {
                (Bug::AcceptsOldEpochs, Err(AppendRefusal::StaleEpoch { current })) => {
                    self.ask(ChunkWrite { epoch: current, ..chunk }).await?
                }
                (Bug::AcceptsGaps, Err(AppendRefusal::Gap { head })) if chunk.from > head => {
                    self.ask(ChunkWrite { from: head, ..chunk }).await?
                }
                (Bug::AppliesRetriesTwice, Ok(())) if is_retry => self.apply_again(chunk).await?,
                (Bug::RefusesRetries, Ok(())) if is_retry => {
                    Err(AppendRefusal::Gap { head: chunk.to })
                }
                (_, answer) => answer,
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    async fn apply_again(
        &self,
        chunk: ChunkWrite,
    ) -> Result<Result<(), AppendRefusal>, StoreError> {
        // A chunk of the far future says where the head is.
        let probe = ChunkWrite { from: Seq(1 << 40), to: Seq((1 << 40) + 1), ..chunk.clone() };
        if let Err(AppendRefusal::Gap { head }) = self.ask(probe).await? {
            let to = Seq(head.0 + chunk.to.0 - chunk.from.0);
            self.ask(ChunkWrite { from: head, to, ..chunk }).await?.ok();
        }
        Ok(Ok(()))
    }

    async fn ask(&self, chunk: ChunkWrite) -> Result<Result<(), AppendRefusal>, StoreError> {
        let answers = self.inner.append(vec![chunk]).await?;
        answers.into_iter().next().ok_or(StoreError::Io("no answer".into()))
    }

    /// Stores what was held back, and holds back the new chunk of each brane.
    async fn hold_back(&self, chunks: Vec<ChunkWrite>) -> Result<Answers, StoreError> {
        let mut answers = Vec::new();
        for chunk in chunks {
            let held = self.state().held.get(&chunk.brane).cloned();
            let joins = held.as_ref().is_none_or(|held| held.to == chunk.from);
            if !joins || chunk.epoch != self.epoch(chunk.brane) {
                self.let_go(chunk.brane).await?;
                answers.push(self.ask(chunk).await?);
                continue;
            }
            self.let_go(chunk.brane).await?;
            self.state().held.insert(chunk.brane, chunk);
            answers.push(Ok(()));
        }
        Ok(answers)
    }

    /// Stores what was held back of a brane.
    pub(super) async fn let_go(&self, brane: BraneId) -> Result<(), StoreError> {
        let held = self.state().held.remove(&brane);
        if let Some(chunk) = held {
            self.inner.append(vec![chunk]).await?;
        }
        Ok(())
    }
}
