internal import Logging
package import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore

/// What `close` accepts with `write_back=on`: on the disk first, in the store after that.
extension StagedFile {
    /// Makes the file as it is now a promise that outlives this process, and stores it when that is possible.
    package func accept() async throws(UploadError) {
        guard isDirty else { return }
        // What is in an upload only is in no file: then it is for the store to promise.
        if state.withLock({ !$0.sent.isEmpty }) { return try await flush() }
        let id = try await journal(acceptedAt: .now(), failure: nil)
        let isIdle = state.withLock { state in
            state.journalID = id
            defer { state.isUploading = true }
            return !state.isUploading
        }
        if isIdle { upload() }
    }

    /// Keeps the file where `thawfs cache recover` finds it, and gives up storing it. Answers its path.
    package func park() async throws(UploadError) -> String {
        guard state.withLock({ $0.sent.isEmpty }) else {
            throw .notRemembered("parts of it are in an upload that was not completed")
        }
        let failure = state.withLock { $0.lastFailure }
        _ = try await journal(acceptedAt: .epoch, failure: failure)
        state.withLock { state in
            state.isDiscarded = true
            state.isParked = true
            state.journalID = nil
        }
        return staging.path
    }

    /// Takes up what an earlier mount has accepted.
    package static func restore(
        _ pending: PendingUpload, in context: Context
    ) throws(UploadError) -> StagedFile {
        let staging = try context.area.file(named: pending.staging)
        var written = Extents()
        for range in pending.extents { written.insert(range) }
        let base = pending.base.map { Base(key: $0.key, version: $0.version, etag: $0.etag, end: $0.end) }
        var state = State(
            key: pending.key, sizeBytes: pending.sizeBytes, attributes: pending.attributes, headers: pending.headers,
            base: base, openedAt: pending.acceptedAt, condition: pending.condition,
            isChanged: !written.isEmpty || pending.base?.sizeBytes != pending.sizeBytes
                || base?.end != pending.sizeBytes)
        state.written = written
        state.hasNewAttributes = true
        state.hasOwnTime = true
        state.journalID = pending.id
        state.acceptedAt = pending.acceptedAt
        state.isUploading = true
        if pending.headers == ObjectHeaders() { state.headers = nil }
        context.area.takeAnyway(written.sizeBytes)
        return StagedFile(restoring: state, staging: staging, in: context)
    }

    private func journal(acceptedAt: Timestamp, failure: UploadError?) async throws(UploadError) -> Int64 {
        var pending = state.withLock { state in
            state.acceptedAt = acceptedAt
            return PendingUpload(
                key: state.key, staging: staging.name, sizeBytes: state.sizeBytes,
                base: state.base.map {
                    PendingUpload.Base(
                        key: $0.key, version: $0.version, etag: $0.etag, sizeBytes: max($0.end, state.baseSizeBytes),
                        end: $0.end)
                },
                extents: state.written.ranges, attributes: state.attributes, headers: state.headers ?? ObjectHeaders(),
                storageClass: context.storageClass, condition: state.condition, acceptedAt: acceptedAt)
        }
        if let failure { pending.failure = PendingUpload.Failure(text: failure.description, at: .now()) }
        do throws(ErrnoError) { try await context.area.disk.sync(staging) } catch { throw UploadError(error) }
        do throws(MetadataError) { return try await context.writer.journal(pending) } catch {
            throw .notRemembered("\(error)")
        }
    }

    // MARK: Storing what was accepted

    /// Stores the file, for as long as it takes.
    package func upload() {
        Task {
            var delay = Duration.seconds(1)
            while await uploadOnce() == false {
                try? await Task.sleep(for: delay)
                delay = min(delay * 2, .seconds(60))
            }
            change { $0.isUploading = false }
            await context.settled(self)
        }
    }

    /// True once there is nothing more to do: all is stored, nobody wants it any more, or it cannot be stored ever.
    private func uploadOnce() async -> Bool {
        guard let id = state.withLock({ $0.isDiscarded ? nil : $0.journalID }) else { return true }
        do throws(UploadError) {
            try await flush()
            return await release(id)
        } catch {
            await failed(id, error)
            guard case .conflict = error else { return false }
            return true
        }
    }

    /// The promise is kept. False when there is a newer one by now.
    private func release(_ id: Int64) async -> Bool {
        do throws(MetadataError) { try await context.writer.dropUpload(id) } catch {
            context.log.error("\(key) is stored, but the journal does not take that in, and the next mount stores it again: \(error)")
        }
        return change { state in
            guard state.journalID == id else { return false }
            state.journalID = nil
            return true
        }
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

    /// To be called before `rename` of a file that the store has nothing of, and ended with `endRename`: it is stored
    /// under the new name only, where it replaces the object of this ETag. False when the store has, or is being sent,
    /// something of it.
    package func beginRename(to key: ObjectKey, over etag: String?) async throws(UploadError) -> Bool {
        let accepted: Int64?? = state.withLock { state in
            guard state.base == nil, !state.isFlushing, !state.isSending, state.multipart == nil else { return nil }
            // Nothing of it is sent before it has its name.
            state.isFlushing = true
            return .some(state.journalID)
        }
        guard let accepted else { return false }
        if let id = accepted {
            do throws(MetadataError) { try await context.writer.renameUpload(id, to: key) } catch {
                endRename()
                throw .notRemembered("\(error)")
            }
        }
        state.withLock { $0.condition = etag.map { .matches(etag: $0) } ?? .isAbsent }
        return true
    }

    package func endRename() {
        change { $0.isFlushing = false }
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

extension StagedFile.Context {
    /// An upload that nobody goes on with costs money until somebody aborts it: the next mount does.
    func rememberUpload(_ upload: MultipartUpload) async {
        await noting { () throws(MetadataError) in try await writer.note(upload) }
    }

    func forgetUpload(_ upload: MultipartUpload) async {
        await noting { () throws(MetadataError) in try await writer.drop(upload) }
    }

    private func noting(_ note: () async throws(MetadataError) -> Void) async {
        do throws(MetadataError) { try await note() } catch {
            log.warning("a multipart upload is not remembered: \(error)")
        }
    }
}
