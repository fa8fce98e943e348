internal import Logging
internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

/// Large files, which are sent in parts: all of them by a flush, the complete ones ahead of it.
extension StagedFile {
    private func complete(_ snapshot: Snapshot) async throws(StoreError) -> ObjectRecord {
        guard let multipart = state.withLock({ $0.multipart }) else { throw .replaced }
        let upload = try await multipart.upload.value.get()
        var draft = multipart.draft
        draft.condition = self.draft(snapshot).condition
        let parts = multipart.parts.values.sorted { $0.number < $1.number }
        let record = try await context.store.completeUpload(upload, parts, draft)
        await context.notes.forgetUpload(upload)
        return record
    }

    /// Makes the object of parts. Answers the attributes that the upload was begun with, and the object.
    func storeParts(
        _ snapshot: inout Snapshot
    ) async throws(UploadError) -> (attributes: FileAttributes, record: ObjectRecord) {
        var hasBegunAgain = false
        while true {
            let begun = try await sendParts(snapshot)
            do throws(UploadError) {
                let record = try await settlingConflicts(&snapshot) { snapshot throws(StoreError) in
                    try await self.complete(snapshot)
                }
                return (begun, record)
            } catch {
                // Somebody aborted the upload, as lifecycle rules do: as far as all of it is here, it is begun again.
                guard case .store(let cause) = error, cause.kind == .noSuchUpload else { throw error }
                change { state in if state.sent.isEmpty { state.multipart = nil } }
                guard !hasBegunAgain, state.withLock({ $0.multipart == nil }) else { throw error }
                hasBegunAgain = true
            }
        }
    }

    /// Sends the parts that the upload does not have. Answers what the upload was begun with.
    private func sendParts(_ snapshot: Snapshot) async throws(UploadError) -> FileAttributes {
        let draft = draft(snapshot)
        let begun = state.withLock { state in
            if state.multipart == nil { state.multipart = beginUpload(snapshot.key, draft, snapshot.attributes) }
            state.multipart?.hasFailed = true
            return state.multipart?.attributes ?? snapshot.attributes
        }
        while true {
            let missing = state.withLock { state in state.missingParts(of: snapshot.sizeBytes, context.layout) }
            if let missing {
                if missing.isEmpty { return begun }
                try await send(missing, snapshot)
            } else {
                await waitPatiently()
            }
        }
    }

    private func send(_ parts: [PartLayout.Part], _ snapshot: Snapshot) async throws(UploadError) {
        let failure = await withTaskGroup(of: UploadError?.self) { group in
            var rest = parts[...]
            var failure: UploadError?
            for part in rest.prefix(Self.partsAtOnce) { group.addTask { await self.send(part, snapshot) } }
            rest = rest.dropFirst(Self.partsAtOnce)
            for await outcome in group {
                if let outcome { failure = failure ?? outcome }
                if failure == nil, let next = rest.popFirst() {
                    group.addTask { await self.send(next, snapshot) }
                }
            }
            return failure
        }
        if let failure { throw failure }
    }

    /// Parts of one file that are sent at once: enough to fill a connection's latency, few enough to leave other files
    /// their turn.
    private static let partsAtOnce = 8

    private func send(_ part: PartLayout.Part, _ snapshot: Snapshot) async -> UploadError? {
        do throws(UploadError) {
            let isOfBase = state.withLock { $0.isOfBase(part.range) }
            let isLast = part.range.upperBound == snapshot.sizeBytes
            if isOfBase, let base = snapshot.base, let least = context.layout.copyBytesMin,
                isLast || part.range.count >= least
            {
                try await copy(part, base)
            } else {
                try await fill(part.range)
                try await upload(part)
            }
            return nil
        } catch {
            return error
        }
    }

    private func copy(_ part: PartLayout.Part, _ base: Base) async throws(UploadError) {
        try await note(part) { upload throws(StoreError) in
            try await self.context.store.copyPart(
                upload, number: part.number,
                from: CopySource(key: base.key, version: base.version, etag: base.etag), range: part.range)
        }
    }

    private func upload(_ part: PartLayout.Part) async throws(UploadError) {
        try await note(part) { upload throws(StoreError) in
            var attempts = 0
            while true {
                do throws(StoreError) {
                    return try await self.context.store.uploadPart(
                        upload, number: part.number, .file(self.staging.file, part.range))
                } catch {
                    attempts += 1
                    guard error.kind == .corrupted, attempts < 3 else { throw error }
                }
            }
        }
    }

    private func note(
        _ part: PartLayout.Part, _ send: (MultipartUpload) async throws(StoreError) -> UploadedPart
    ) async throws(UploadError) {
        guard let beginning = state.withLock({ $0.multipart?.upload }) else {
            throw .store(state.withLock { $0.aheadFailure } ?? .replaced)
        }
        do throws(StoreError) {
            let upload = try await beginning.value.get()
            let receipt = try await context.slots.with { () async throws(StoreError) in try await send(upload) }
            change { state in
                guard state.multipart?.upload == beginning else { return }
                state.multipart?.parts[part.number] = receipt
                state.sentBytes += receipt.sizeBytes
            }
        } catch {
            var hasBegun = false
            if case .success = await beginning.value { hasBegun = true }
            change { state in
                state.aheadFailure = error
                guard state.multipart?.upload == beginning else { return }
                state.multipart?.hasFailed = true
                // What cannot be gone on with is begun again, unless bytes of the file are nowhere else.
                if !hasBegun || error.kind == .noSuchUpload, state.sent.isEmpty { state.multipart = nil }
            }
            throw UploadError(ofBase: error)
        }
    }

    // MARK: Ahead of the flush

    /// Begins to send the parts of a growing file that are complete.
    func sendAhead() {
        while let part = state.withLock({ nextPart(&$0) }) {
            Task {
                // A failure here is no news: the flush sends the part again and tells.
                try? await self.upload(part)
                self.change { state in
                    state.multipart?.sending.remove(part.number)
                    // Of an upload that was begun again too, at worst a part is sent twice.
                    if let index = state.inTransit.firstIndex(of: part.range) { state.inTransit.remove(at: index) }
                }
                self.sendAhead()
            }
        }
    }

    private func nextPart(_ state: inout State) -> PartLayout.Part? {
        guard context.sendsAhead, state.sizeBytes > context.layout.wholeBytesMax, state.base?.end ?? 0 == 0,
            !state.isFlushing, !state.isHeld, state.pauses == 0, !state.isDiscarded, state.aheadFailure == nil,
            state.multipart.map({ !$0.hasFailed && $0.sending.count < Self.partsAtOnce }) ?? true,
            let part = context.layout.part(at: state.multipart?.nextOffset ?? 0), state.written.contains(part.range)
        else { return nil }
        if state.multipart == nil {
            let draft = draft(state.headers, state.attributes, mark: nil, .always)
            state.multipart = beginUpload(state.key, draft, state.attributes)
        }
        state.multipart?.sending.insert(part.number)
        state.multipart?.nextOffset = part.range.upperBound
        state.inTransit.append(part.range)
        return part
    }

    private func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft, _ attributes: FileAttributes) -> Multipart {
        let context = context
        return Multipart(
            upload: Task { () async -> Result<MultipartUpload, StoreError> in
                do throws(StoreError) {
                    let upload = try await context.store.beginUpload(key, draft)
                    await context.notes.rememberUpload(upload)
                    return .success(upload)
                } catch {
                    return .failure(error)
                }
            },
            draft: draft, attributes: attributes)
    }

    func abortUpload() async {
        let multipart = change { state in
            defer { state.multipart = nil }
            return state.multipart
        }
        guard let multipart, case .success(let upload) = await multipart.upload.value else { return }
        do throws(StoreError) {
            try await context.store.abortUpload(upload)
            await context.notes.forgetUpload(upload)
        } catch {
            context.log.warning("an upload of \(upload.key) that is not wanted was not aborted, and is at the next mount: \(error)")
        }
    }
}

extension StagedFile.State {
    /// The parts that the upload does not have; nil while one of them is on its way.
    fileprivate func missingParts(of sizeBytes: UInt64, _ layout: PartLayout) -> [PartLayout.Part]? {
        guard let multipart else { return layout.parts(of: sizeBytes) }
        guard multipart.sending.isEmpty else { return nil }
        return layout.parts(of: sizeBytes).filter {
            multipart.parts[$0.number]?.sizeBytes != UInt64($0.range.count)
        }
    }

    /// All of the range is the base's, unchanged.
    fileprivate func isOfBase(_ range: Range<UInt64>) -> Bool {
        guard let base, range.upperBound <= base.end else { return false }
        return !written.overlaps(range) && !sent.overlaps(range)
    }
}
