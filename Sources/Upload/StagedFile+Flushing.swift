internal import Content
internal import Logging
internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

extension StagedFile {
    /// Makes the object equal the file as it is now; returns when it does. An upload that was begun goes on whoever
    /// waits: cancelling the task ends the wait only.
    package func flush() async throws(UploadError) {
        var own: UInt64?
        while true {
            let step = state.withLock { state -> FlushStep in
                if let own, state.flushesDone >= own { return .finished(state.lastFailure) }
                if state.isFlushing || state.isHeld { return .wait }
                guard state.isDirty else { return .finished(nil) }
                state.isFlushing = true
                own = state.flushesDone + 1
                return .begin
            }
            switch step {
            case .begin: Task { await self.runFlush() }
            case .wait:
                if Task.isCancelled { throw .store(.interrupted) }
                await waitForChange()
            case .finished(let failure):
                if let failure { throw failure }
                return
            }
        }
    }

    private enum FlushStep {
        case begin, wait
        case finished(UploadError?)
    }

    /// The file as it is when a flush begins.
    struct Snapshot {
        var key: ObjectKey
        var sizeBytes: UInt64
        var attributes: FileAttributes
        var headers: ObjectHeaders?
        var base: Base?
        var condition: WriteCondition
        var replacesUnknown: Bool
        var journalID: Int64?
        var openedAt: Timestamp
        var isChanged: Bool
        var hasNewAttributes: Bool
        var hasOwnTime: Bool
        var isParted: Bool
        var isAccepted: Bool
        /// Some of it is in the upload under way only.
        var isPunched: Bool

        /// Bytes of the object that the file still has.
        var derivesFromBase: Bool { base.map { $0.end > 0 } ?? false }
    }

    private func runFlush() async {
        do throws(UploadError) { try await adoptOwn() } catch {
            return change { state in
                state.lastFailure = error
                state.isFlushing = false
                state.flushesDone += 1
            }
        }
        let snapshot = state.withLock { state in
            let snapshot = Snapshot(
                key: state.key, sizeBytes: state.sizeBytes, attributes: state.attributes, headers: state.headers,
                base: state.base, condition: state.condition, replacesUnknown: state.replacesUnknown,
                journalID: state.journalID, openedAt: state.openedAt, isChanged: state.isChanged,
                hasNewAttributes: state.hasNewAttributes, hasOwnTime: state.hasOwnTime,
                isParted: state.multipart != nil, isAccepted: state.isAccepted, isPunched: !state.sent.isEmpty)
            if state.isChanged { state.inTransit.append(0..<state.sizeBytes) }
            state.isChanged = false
            state.hasNewAttributes = false
            state.sentBytes = 0
            return snapshot
        }
        let result: Result<ObjectRecord, UploadError>
        do throws(UploadError) {
            await context.storing(snapshot.key)
            let record = try await store(snapshot)
            await context.stored(self, snapshot.key, record)
            await keepPromise(snapshot.journalID)
            result = .success(record)
        } catch {
            result = .failure(error)
        }
        let replaced = change { state -> FileContent? in
            if snapshot.isChanged, let index = state.inTransit.lastIndex(of: 0..<snapshot.sizeBytes) {
                state.inTransit.remove(at: index)
            }
            state.isFlushing = false
            state.flushesDone += 1
            switch result {
            case .success(let record):
                state.lastFailure = nil
                // The file may have been cut while its attributes alone were stored.
                let end = snapshot.isChanged ? snapshot.sizeBytes : state.base?.end ?? 0
                state.base = Base(key: state.key, etag: record.etag, sizeBytes: snapshot.sizeBytes, end: end)
                state.aheadFailure = nil
                state.replacesUnknown = false
                state.condition = .matches(etag: record.etag)
                state.openedAt = .now()
                state.headers = nil
                if snapshot.isChanged {
                    state.sent = Extents()
                    state.multipart = nil
                }
                defer { state.baseContent = nil }
                return state.baseContent
            case .failure(let error):
                state.lastFailure = error
                if snapshot.isChanged { state.isChanged = true }
                if snapshot.hasNewAttributes { state.hasNewAttributes = true }
                return nil
            }
        }
        replaced?.close()
    }

    // MARK: Storing

    private func store(_ snapshot: Snapshot) async throws(UploadError) -> ObjectRecord {
        var snapshot = snapshot
        guard snapshot.isChanged else { return try await storeAttributes(snapshot) }
        try await takeHeaders(&snapshot)
        try extendStaging(to: snapshot.sizeBytes)
        var record: ObjectRecord
        if snapshot.sizeBytes <= context.layout.wholeBytesMax, !snapshot.isPunched {
            if snapshot.isParted { await abortUpload() }
            try await fill(0..<snapshot.sizeBytes)
            record = try await settlingConflicts(&snapshot) { snapshot throws(StoreError) in
                try await self.put(snapshot)
            }
        } else {
            let begun: FileAttributes
            (begun, record) = try await storeParts(&snapshot)
            // The attributes of an upload are those of its beginning.
            var carried = begun
            if !snapshot.hasOwnTime { carried.modified = snapshot.attributes.modified }
            if carried != snapshot.attributes {
                snapshot.base = Base(key: snapshot.key, etag: record.etag, sizeBytes: snapshot.sizeBytes)
                record = try await storeAttributes(snapshot)
            }
        }
        record.attributes = snapshot.attributes
        return record
    }

    func draft(_ snapshot: Snapshot) -> ObjectDraft {
        draft(
            snapshot.headers, snapshot.attributes, mark: snapshot.isAccepted ? staging.name : nil,
            context.store.checks(snapshot.condition) ? snapshot.condition : .always)
    }

    func draft(
        _ headers: ObjectHeaders?, _ attributes: FileAttributes, mark: String?, _ condition: WriteCondition
    ) -> ObjectDraft {
        var headers = headers ?? ObjectHeaders()
        headers.metadata = attributes.merged(into: headers.metadata)
        headers.metadata[Self.mark] = mark
        return ObjectDraft(headers: headers, storageClass: context.storageClass, condition: condition)
    }

    /// A change of an object keeps the headers that others gave it.
    private func takeHeaders(_ snapshot: inout Snapshot) async throws(UploadError) {
        guard snapshot.derivesFromBase, snapshot.headers == nil, let base = snapshot.base else { return }
        let description: ObjectDescription
        do throws(StoreError) {
            description = try await context.store.describe(base.key, version: base.version)
        } catch {
            throw UploadError(ofBase: error)
        }
        guard description.record.etag == base.etag else { throw .conflict(.replaced) }
        snapshot.headers = description.headers
        state.withLock { $0.headers = description.headers }
    }

    private func extendStaging(to sizeBytes: UInt64) throws(UploadError) {
        let result: Result<Void, UploadError> = state.withLock { _ in
            do throws(ErrnoError) {
                try staging.extend(to: sizeBytes)
                return .success(())
            } catch {
                return .failure(UploadError(error))
            }
        }
        try result.get()
    }

    private func put(_ snapshot: Snapshot) async throws(StoreError) -> ObjectRecord {
        try await context.slots.with { () async throws(StoreError) in
            try await context.store.put(
                snapshot.key, .file(staging.file, 0..<snapshot.sizeBytes), draft(snapshot))
        }
    }

    /// Only the headers are new: the store copies the object onto itself. What we have stored may be frozen at once
    /// (an archive class): then they are kept for it.
    private func storeAttributes(_ snapshot: Snapshot) async throws(UploadError) -> ObjectRecord {
        guard let base = snapshot.base else { throw .store(.replaced) }
        var record: ObjectRecord
        do throws(StoreError) {
            do throws(StoreError) {
                return try await context.store.replaceAttributes(
                    CopySource(key: base.key, version: base.version, etag: base.etag), snapshot.attributes,
                    notes: context.notes)
            } catch {
                guard error.kind == .invalidObjectState else { throw error }
                record = try await context.store.head(base.key, version: base.version)
                guard record.etag == base.etag else { throw .replaced }
            }
        } catch {
            throw UploadError(ofBase: error)
        }
        try await context.postpone(base.key, record, snapshot.attributes)
        record.attributes = snapshot.attributes
        return record
    }

    /// Sends what may be sent again: bytes that changed on their way, and a whole file over an object that was not
    /// known when the file was opened, but there already. Anything else that somebody stored meanwhile is not
    /// overwritten.
    func settlingConflicts(
        _ snapshot: inout Snapshot, _ send: (Snapshot) async throws(StoreError) -> ObjectRecord
    ) async throws(UploadError) -> ObjectRecord {
        var attempts = 0
        while true {
            attempts += 1
            do throws(StoreError) {
                return try await send(snapshot)
            } catch {
                guard attempts < 4 else {
                    throw error.kind == .preconditionFailed ? .conflict(error) : .store(error)
                }
                switch error.kind {
                case .corrupted: continue
                case .preconditionFailed: break
                case .noSuchKey where snapshot.condition != .isAbsent && snapshot.condition != .always: break
                default: throw .store(error)
                }
                snapshot.condition = try await conditionAfter(error, snapshot)
            }
        }
    }

    private func conditionAfter(_ error: StoreError, _ snapshot: Snapshot) async throws(UploadError) -> WriteCondition {
        guard !snapshot.derivesFromBase, snapshot.replacesUnknown else { throw .conflict(error) }
        let there: ObjectRecord
        do throws(StoreError) {
            there = try await context.store.head(snapshot.key, version: nil)
        } catch {
            guard error.kind == .noSuchKey else { throw .store(error) }
            return .isAbsent
        }
        // Stores tell whole seconds.
        guard there.modified + .seconds(1) <= snapshot.openedAt else { throw .conflict(error) }
        return .matches(etag: there.etag)
    }
}

extension StoreError {
    static let interrupted = StoreError(.cancelled, code: "Cancelled", message: "the wait was given up")
    static let replaced = StoreError(
        .preconditionFailed, code: "PreconditionFailed", message: "the object is not the one that was opened")
}
