internal import Content
internal import Logging
package import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore

/// What `close` accepts with `write_back=on`: on the disk first, in the store after that.
extension StagedFile {
    /// Makes the file as it is now a promise that outlives this process, and stores it when that is possible. With
    /// `cutTo`, as it is once it has that size, which the caller gives it next.
    package func accept(cutTo sizeBytes: UInt64? = nil) async throws(UploadError) {
        while true {
            let isReady = state.withLock { state -> Bool? in
                if state.isHeld { return false }
                if state.isDiscarded { return nil }
                // What is being sent is stored, or it is for the journal.
                if sizeBytes == nil, !state.isDirty { return state.isFlushing ? false : nil }
                // Nothing of what is promised may be punched out from here on, nor may it get another name.
                state.acceptances += 1
                return true
            }
            guard let isReady else { return }
            if isReady { break }
            if Task.isCancelled { throw .store(.interrupted) }
            await waitForChange()
        }
        defer { change { $0.acceptances -= 1 } }
        // Somebody else's object is there: that will not change by itself.
        if case .conflict(let error) = lastFailure { throw .conflict(error) }
        // What is in an upload only is in no file: then it is for the store to promise.
        if isPunched { return try await flush() }
        let id = try await journal(acceptedAt: .now(), failure: nil, cutTo: sizeBytes)
        let isIdle = state.withLock { state in
            state.journalID = id
            defer { state.isUploading = true }
            return !state.isUploading
        }
        if isIdle { upload() }
    }

    /// Keeps the file where `thawfs cache recover` finds it, and gives up storing it. Answers its path.
    package func park() async throws(UploadError) -> String {
        let isWhole = state.withLock { state in
            state.acceptances += 1
            return state.sent.isEmpty
        }
        defer { change { $0.acceptances -= 1 } }
        guard isWhole else { throw .notRemembered("parts of it are in an upload that was not completed") }
        let (failure, accepted) = state.withLock { ($0.lastFailure, $0.journalID) }
        _ = try await journal(acceptedAt: .epoch, failure: failure, cutTo: nil)
        if let accepted { _ = try? await context.writer.dropUpload(accepted) }
        state.withLock { state in
            state.isDiscarded = true
            state.isParked = true
            state.journalID = nil
        }
        await abortUpload()
        return staging.path
    }

    /// Takes up what an earlier mount has accepted.
    package static func restore(
        _ pending: PendingUpload, in context: Context
    ) throws(UploadError) -> StagedFile {
        let staging = try context.area.file(named: pending.staging)
        var written = Extents()
        for range in pending.extents { written.insert(range) }
        // What was written after the promise is where the promise has zeros, or nothing.
        do throws(ErrnoError) {
            try staging.shorten(to: pending.sizeBytes)
            let end = min(pending.base?.end ?? 0, pending.sizeBytes)
            for gap in written.gaps(in: end..<pending.sizeBytes) { try staging.punch(gap) }
        } catch {
            throw UploadError(error)
        }
        var state = State(
            key: pending.key, sizeBytes: pending.sizeBytes, attributes: pending.attributes, headers: pending.headers,
            base: pending.base, openedAt: pending.acceptedAt, condition: pending.condition,
            isChanged: !written.isEmpty || pending.base?.sizeBytes != pending.sizeBytes
                || pending.base?.end != pending.sizeBytes)
        state.written = written
        state.hasNewAttributes = true
        state.hasOwnTime = true
        state.isRestored = true
        state.journalID = pending.id
        state.acceptedAt = pending.acceptedAt
        state.isUploading = true
        if pending.headers == ObjectHeaders() { state.headers = nil }
        context.area.takeAnyway(written.sizeBytes)
        return StagedFile(restoring: state, staging: staging, in: context)
    }

    private func journal(
        acceptedAt: Timestamp, failure: UploadError?, cutTo sizeBytes: UInt64?
    ) async throws(UploadError) -> Int64 {
        var pending = state.withLock { state in
            state.acceptedAt = acceptedAt
            var written = state.written
            var base = state.base
            if let sizeBytes {
                written.cut(at: sizeBytes)
                if let end = base?.end { base?.end = min(end, sizeBytes) }
            }
            return PendingUpload(
                key: state.key, staging: staging.name, sizeBytes: sizeBytes ?? state.sizeBytes,
                base: base, extents: written.ranges, attributes: state.attributes,
                headers: state.headers ?? ObjectHeaders(),
                storageClass: context.storageClass, condition: state.condition, acceptedAt: acceptedAt)
        }
        if let failure { pending.failure = PendingUpload.Failure(text: failure.description, at: .now()) }
        do throws(ErrnoError) { try await context.area.disk.sync(staging) } catch { throw UploadError(error) }
        do throws(MetadataError) {
            let id = try await context.writer.journal(pending)
            // Before it may be punched out again.
            state.withLock { $0.journalID = id }
            return id
        } catch {
            throw .notRemembered("\(error)")
        }
    }

    /// The staging file's name in the metadata of what is stored of an accepted file: after a crash it tells what we
    /// have stored ourselves, though the journal could not be told, from somebody else's.
    static let mark = "thaw-staging"

    /// Finds out what an earlier mount has stored of the file: then this is a change of that.
    func adoptOwn() async throws(UploadError) {
        let (isRestored, key) = state.withLock { ($0.isRestored, $0.key) }
        guard isRestored else { return }
        var there: ObjectDescription?
        do throws(StoreError) { there = try await context.store.describe(key, version: nil) } catch {
            guard error.kind == .noSuchKey else { throw .store(error) }
        }
        let outcome = change { state -> Result<FileContent?, UploadError> in
            // A read and a flush may both have asked, and the flush have stored more by now.
            guard state.isRestored else { return .success(nil) }
            guard let there, there.headers.metadata[Self.mark] == staging.name else {
                // Where the store compares no ETags, this is who does.
                if let there, case .matches(let etag) = state.condition, there.record.etag != etag,
                    !context.store.checks(state.condition)
                {
                    return .failure(.conflict(.replaced))
                }
                state.isRestored = false
                return .success(nil)
            }
            state.isRestored = false
            // Wherever the staging file has no bytes, they were the same in both.
            let end = min(state.base?.end ?? 0, there.record.sizeBytes)
            state.base = Base(key: key, etag: there.record.etag, sizeBytes: there.record.sizeBytes, end: end)
            state.condition = .matches(etag: there.record.etag)
            defer { state.baseContent = nil }
            return .success(state.baseContent)
        }
        try outcome.get()?.close()
    }

    // MARK: Storing what was accepted

    /// Stores the file, for as long as it takes.
    package func upload() {
        Task {
            var delay = Duration.seconds(1)
            while true {
                if await uploadOnce() {
                    // Something may have been accepted in this moment.
                    let isDone = change { state in
                        let isHopeless = if case .conflict = state.lastFailure { true } else { false }
                        guard state.journalID == nil || isHopeless || state.isDiscarded else { return false }
                        state.isUploading = false
                        return true
                    }
                    if isDone { break }
                } else {
                    try? await Task.sleep(for: delay)
                    delay = min(delay * 2, .seconds(60))
                }
            }
            await context.settled(self)
        }
    }

    /// False when it is to be tried again later.
    private func uploadOnce() async -> Bool {
        guard let id = state.withLock({ $0.isDiscarded ? nil : $0.journalID }) else { return true }
        do throws(UploadError) {
            try await flush()
            // Nothing was sent: it was all stored before.
            await keepPromise(id)
            return true
        } catch {
            await failed(id, error)
            guard case .conflict = error else { return false }
            return true
        }
    }

    /// What was accepted with this row is stored.
    func keepPromise(_ id: Int64?) async {
        guard let id, state.withLock({ $0.journalID == id }) else { return }
        do throws(MetadataError) { try await context.writer.dropUpload(id) } catch {
            context.log.error(
                "\(key) is stored, but the journal does not take that in: the next mount stores it again: \(error)")
        }
        change { state in if state.journalID == id { state.journalID = nil } }
    }

    private func failed(_ id: Int64, _ error: UploadError) async {
        let isNews = state.withLock { state in
            defer { state.failureTold = error.description }
            return state.failureTold != error.description
        }
        guard isNews else { return }
        context.log.error("\(key) was accepted, and is not in the store yet: \(error); it is kept in \(staging.path) and tried again")
        do throws(MetadataError) {
            try await context.writer.failUpload(id, PendingUpload.Failure(text: error.description, at: .now()))
        } catch {
            context.log.warning("the failure is not remembered: \(error)")
        }
    }

    // MARK: Renaming

    /// To be called before `rename` of a file that the store has nothing of, and ended with `release`: it is stored
    /// under the new name only, where it replaces the object of this ETag. Waits for what is being sent; false when the
    /// store has something of it then.
    package func beginRename(to key: ObjectKey, over etag: String?) async throws(UploadError) -> Bool {
        guard base == nil else { return false }
        try await hold()
        let (isOnlyHere, accepted) = state.withLock { state in
            // What was sent of a promise in vain is sent again; another file's parts are better completed.
            let isWhole = state.multipart == nil || state.journalID != nil && state.sent.isEmpty
            return (state.base == nil && isWhole, state.journalID)
        }
        guard isOnlyHere else {
            release()
            return false
        }
        await abortUpload()
        let condition: WriteCondition = etag.map { .matches(etag: $0) } ?? .isAbsent
        if let id = accepted {
            do throws(MetadataError) { try await context.writer.renameUpload(id, to: key, condition) } catch {
                release()
                throw .notRemembered("\(error)")
            }
        }
        state.withLock { $0.condition = condition }
        return true
    }

    // MARK: For people

    package var summary: UploadSummary {
        state.withLock { state in
            // Beyond the base, what was never written is zeros.
            let isComplete = state.sent.isEmpty && state.written.contains(0..<(state.base?.end ?? 0))
            return UploadSummary(
                key: state.key, sizeBytes: state.sizeBytes, sentBytes: min(state.sentBytes, state.sizeBytes),
                stage: state.isFlushing ? .uploading : state.lastFailure != nil ? .failed : .waiting,
                since: state.acceptedAt, error: state.lastFailure?.description, stagingPath: staging.path,
                isComplete: isComplete, ranges: isComplete ? [] : state.written.ranges)
        }
    }
}
