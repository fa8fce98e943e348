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
    private struct Snapshot {
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

    private func draft(_ snapshot: Snapshot) -> ObjectDraft {
        var headers = snapshot.headers ?? ObjectHeaders()
        headers.metadata = snapshot.attributes.merged(into: headers.metadata)
        headers.metadata[Self.mark] = snapshot.isAccepted ? staging.name : nil
        return ObjectDraft(
            headers: headers,
            storageClass: context.storageClass,
            condition: context.store.checks(snapshot.condition) ? snapshot.condition : .always)
    }

    /// A change of an object keeps the headers that others gave it.
    private func takeHeaders(_ snapshot: inout Snapshot) async throws(UploadError) {
        guard snapshot.derivesFromBase, snapshot.headers == nil, let base = snapshot.base else { return }
        let description: ObjectDescription
        do throws(StoreError) {
            description = try await context.store.describe(base.key, version: base.version)
        } catch {
            throw error.kind == .noSuchKey ? .conflict(error) : .store(error)
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

    /// Only the headers are new: the store copies the object onto itself.
    private func storeAttributes(_ snapshot: Snapshot) async throws(UploadError) -> ObjectRecord {
        guard let base = snapshot.base else { throw .store(.replaced) }
        do throws(StoreError) {
            return try await context.store.replaceAttributes(
                CopySource(key: base.key, version: base.version, etag: base.etag), snapshot.attributes)
        } catch {
            switch error.kind {
            case .preconditionFailed, .noSuchKey: throw .conflict(error)
            default: throw .store(error)
            }
        }
    }

    /// Sends what may be sent again: bytes that changed on their way, and a whole file over an object that was not
    /// known when the file was opened, but there already. Anything else that somebody stored meanwhile is not
    /// overwritten.
    private func settlingConflicts(
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

    // MARK: Parts

    private func complete(_ snapshot: Snapshot) async throws(StoreError) -> ObjectRecord {
        guard let multipart = state.withLock({ $0.multipart }) else { throw .replaced }
        let upload = try await multipart.upload.value.get()
        var draft = multipart.draft
        draft.condition = self.draft(snapshot).condition
        let parts = multipart.parts.values.sorted { $0.number < $1.number }
        let record = try await context.store.completeUpload(upload, parts, draft)
        await context.forgetUpload(upload)
        return record
    }

    /// Makes the object of parts. Answers the attributes that the upload was begun with, and the object.
    private func storeParts(
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
            if isOfBase, let base = snapshot.base, isLast || part.range.count >= context.layout.copyBytesMin {
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

    fileprivate func upload(_ part: PartLayout.Part) async throws(UploadError) {
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
            switch error.kind {
            case .preconditionFailed, .noSuchKey: throw .conflict(error)
            default: throw .store(error)
            }
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
            !state.isFlushing, !state.isHeld, !state.isDiscarded, state.aheadFailure == nil,
            state.multipart.map({ !$0.hasFailed && $0.sending.count < Self.partsAtOnce }) ?? true,
            let part = context.layout.part(at: state.multipart?.nextOffset ?? 0), state.written.contains(part.range)
        else { return nil }
        if state.multipart == nil {
            let draft = ObjectDraft(
                headers: ObjectHeaders(
                    metadata: state.attributes.merged(into: state.headers?.metadata ?? [:]),
                    standard: state.headers?.standard ?? [:]),
                storageClass: context.storageClass, condition: .always)
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
                    await context.rememberUpload(upload)
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
            await context.forgetUpload(upload)
        } catch {
            context.log.warning("an upload of \(upload.key) that is not wanted was not aborted, and is at the next mount: \(error)")
        }
    }

    // MARK: Reading

    /// The bytes, if they are in the staging file, or zeros.
    package func bytesAtHand(_ range: Range<UInt64>) -> Result<[UInt8], UploadError>? {
        state.withLock { state in
            let range = range.clamped(to: 0..<state.sizeBytes)
            let gaps = state.written.gaps(in: range)
            guard !state.sent.overlaps(range), !gaps.contains(where: { $0.lowerBound < state.base?.end ?? 0 })
            else { return nil }
            return Result { () throws(UploadError) in try staged(range) }
        }
    }

    /// The bytes of the file from there, up to its end.
    package func bytes(_ range: Range<UInt64>) async throws(UploadError) -> [UInt8] {
        while true {
            if let bytes = bytesAtHand(range) { return try bytes.get() }
            if Task.isCancelled { throw .store(.interrupted) }
            if state.withLock({ $0.sent.overlaps(range) }) {
                guard !state.withLock({ $0.isDiscarded }) else { throw .store(.replaced) }
                try await flush()
                continue
            }
            let wanted = state.withLock { state in
                state.written.gaps(in: range.clamped(to: 0..<state.sizeBytes)).map {
                    $0.clamped(to: 0..<(state.base?.end ?? 0))
                }.filter { !$0.isEmpty }
            }
            guard !wanted.isEmpty else { continue }
            var fetched: [(range: Range<UInt64>, bytes: [UInt8])] = []
            guard let content = baseContent() else { continue }
            do throws(UploadError) {
                for gap in wanted { fetched.append((gap, try await read(content, gap))) }
            } catch {
                // A flush may have made another object of it meanwhile.
                let (isFlushing, isSame, isRestored) = state.withLock {
                    ($0.isFlushing || $0.isHeld, $0.baseContent === content, $0.isRestored)
                }
                if isRestored, !isFlushing {
                    try await adoptOwn()
                    continue
                }
                guard isFlushing || !isSame else { throw error }
                if isFlushing { await waitForChange() }
                continue
            }
            // Unless it was written or stored meanwhile.
            let assembled = state.withLock { state -> Result<[UInt8], UploadError>? in
                guard state.baseContent === content, !state.sent.overlaps(range) else { return nil }
                return Result { () throws(UploadError) in
                    let range = range.clamped(to: 0..<state.sizeBytes)
                    var bytes = try staged(range)
                    for (gap, piece) in fetched {
                        for part in state.written.gaps(in: gap.clamped(to: 0..<(state.base?.end ?? 0)))
                        where range.overlaps(part) {
                            let part = part.clamped(to: range)
                            let from = Int(part.lowerBound - gap.lowerBound)
                            let at = Int(part.lowerBound - range.lowerBound)
                            bytes.replaceSubrange(at..<at + part.count, with: piece[from..<from + part.count])
                        }
                    }
                    return bytes
                }
            }
            if let assembled { return try assembled.get() }
        }
    }

    /// What the staging file has; zeros where it has nothing.
    private func staged(_ range: Range<UInt64>) throws(UploadError) -> [UInt8] {
        var failure: ErrnoError?
        let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            switch staging.file.read(into: UnsafeMutableRawBufferPointer(buffer), at: range.lowerBound) {
            case .success(let read):
                UnsafeMutableRawBufferPointer(buffer)[read...].initializeMemory(as: UInt8.self, repeating: 0)
                count = range.count
            case .failure(let error): failure = error
            }
        }
        if let failure { throw .local(failure) }
        return bytes
    }

    /// Brings what the file has of its base in this range into the staging file.
    func fill(_ range: Range<UInt64>) async throws(UploadError) {
        while let gap = state.withLock({ state in
            state.written.gaps(in: range.clamped(to: 0..<(state.base?.end ?? 0))).first
        }) {
            let piece = gap.lowerBound..<min(gap.upperBound, gap.lowerBound + (4 << 20))
            guard let content = baseContent() else { return }
            let bytes = try await read(content, piece)
            // What was written there meanwhile is newer.
            let outcome = state.withLock { state -> Result<Void, ErrnoError> in
                for part in state.written.gaps(in: piece.clamped(to: 0..<(state.base?.end ?? 0))) {
                    let from = Int(part.lowerBound - piece.lowerBound)
                    let written = bytes[from..<from + part.count].withUnsafeBytes {
                        staging.file.write($0, at: part.lowerBound)
                    }
                    if case .failure = written { return written }
                    state.written.insert(part)
                    context.area.takeAnyway(UInt64(part.count))
                }
                return .success(())
            }
            if case .failure(let error) = outcome { throw UploadError(error) }
        }
    }

    private func baseContent() -> FileContent? {
        state.withLock { state in
            if let content = state.baseContent { return content }
            guard let base = state.base, base.end > 0 else { return nil }
            let content = context.contents.content(
                key: base.key, version: base.version, etag: base.etag, sizeBytes: base.end)
            state.baseContent = content
            return content
        }
    }

    private func read(_ content: FileContent, _ range: Range<UInt64>) async throws(UploadError) -> [UInt8] {
        do throws(StoreError) {
            return try await content.bytes(range, ahead: 0).withPieces { pieces in
                var bytes: [UInt8] = []
                bytes.reserveCapacity(range.count)
                for piece in pieces { bytes.append(contentsOf: piece) }
                return bytes
            }
        } catch {
            switch error.kind {
            case .preconditionFailed, .noSuchKey: throw .conflict(error)
            default: throw .store(error)
            }
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

extension StoreError {
    static let interrupted = StoreError(.cancelled, code: "Cancelled", message: "the wait was given up")
    static let replaced = StoreError(
        .preconditionFailed, code: "PreconditionFailed", message: "the object is not the one that was opened")
}
