internal import Logging
internal import ObjectStore
internal import ThawCore
internal import Wire

/// CreateRestoreJob has no idempotency token. So it is never sent before the jobs that are there were looked through,
/// and after a reply that was lost they are looked through again: what was created then is taken for ours.
extension BackupClient {
    package struct ObtainedJob: Sendable, Equatable {
        package var id: String
        /// False for one that was there.
        package var isNew: Bool
    }

    /// The clocks may be apart by so much: the service refuses requests beyond it.
    package static let clockTolerance = Duration.seconds(900)
    private static let createAttemptsMax = 3
    /// When the jobs are looked through after a lost reply, each time after the one before: nothing says how soon a
    /// new job is listed.
    private static let looksForLost: [Duration] = [.seconds(1), .seconds(3), .seconds(9)]

    /// The job that does a part of a wish: the newest that is there and may be taken, or else a new one.
    ///
    /// - Parameter isTaken: of a job that was made for this very part
    package func obtain(
        _ part: SnapshotRestore, taking isTaken: (RestoreJob) -> Bool
    ) async throws(BackupError) -> ObtainedJob {
        let before = try await jobs(doing: part)
        if let job = before.first(where: isTaken) { return ObtainedJob(id: job.id, isNew: false) }
        guard let id = try await make(part, besides: Set(before.map(\.id)), if: { true }) else { throw .cancelled }
        return ObtainedJob(id: id, isNew: true)
    }

    /// Makes a job, and answers its id; nil when none is made because it is no longer wanted.
    ///
    /// - Parameter known: all jobs that do the same, as they are just now
    /// - Parameter isWanted: asked each time just before one is made
    package func make(
        _ part: SnapshotRestore, besides known: Set<String>, if isWanted: @Sendable () async -> Bool
    ) async throws(BackupError) -> String? {
        let hash = try await hash(of: part)
        var attempt = 1
        while await isWanted() {
            let askedAt = exchange.now
            let failure: BackupError
            do throws(BackupError) {
                return try await create(part, hash: hash)
            } catch {
                failure = error
            }
            guard failure.kind != .cancelled else { throw failure }
            if failure.mayHaveBeenDone {
                logger.notice("the reply to CreateRestoreJob was lost, looking for its job: \(failure)")
                if let id = try await lost(part, since: askedAt, unlike: known) { return id }
            }
            guard failure.isTransient, attempt < Self.createAttemptsMax else { throw failure }
            try await exchange.pause(beforeAttempt: attempt)
            attempt += 1
        }
        return nil
    }

    /// The jobs that were made for this part, the newest first.
    package func jobs(doing part: SnapshotRestore) async throws(BackupError) -> [RestoreJob] {
        try await jobs(part.type, vault: part.vault).filter { $0.does(part) }
    }

    private func create(_ part: SnapshotRestore, hash: String?) async throws(BackupError) -> String {
        var action = Exchange.Action(
            name: "CreateRestoreJob", query: part.query, form: part.form, isSentOnce: true)
        if let hash { action.query.append(.init("SnapshotHash", hash)) }
        let reply = try await exchange.sendOnce(action)
        guard let id = reply.text("RestoreId") else {
            throw .nonsense("the reply names no restore job", requestID: reply.text("RequestId"))
        }
        return id
    }

    private func lost(
        _ part: SnapshotRestore, since askedAt: Timestamp, unlike known: Set<String>
    ) async throws(BackupError) -> String? {
        for delay in Self.looksForLost {
            try await exchange.pause(delay)
            // All that were there are known: one that does not say when it was created is new as well.
            let found = try await jobs(doing: part).first {
                !known.contains($0.id)
                    && ($0.createdAt == .epoch || $0.createdAt >= askedAt - Self.clockTolerance)
            }
            if let found { return found.id }
        }
        return nil
    }

    /// The snapshot's hash. Documented as optional: a snapshot whose search the service refuses, or does not find
    /// without the name of what was backed up, is asked for without it, and the service has the last word.
    private func hash(of part: SnapshotRestore) async throws(BackupError) -> String? {
        do throws(BackupError) {
            let found = try await snapshots(SnapshotSearch(vault: part.vault, type: part.type))
            if let snapshot = found.first(where: { $0.id == part.snapshot }) { return snapshot.hash }
            logger.info("snapshot \(part.snapshot.printable) is not listed; it is asked for without its hash")
        } catch {
            guard error.kind == .invalid else { throw error }
            logger.info("snapshots of \(part.vault.printable) cannot be searched: \(error)")
        }
        return nil
    }
}
