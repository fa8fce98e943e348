package import Content
package import Logging
package import Metadata
package import ObjectStore
internal import Synchronization
package import ThawCore
package import Wire

/// A file with changes of ours: what was written lies in a staging file, the rest in the object it is a change of.
///
/// Reads and writes of what is here never wait. `flush` makes the object equal the file; parts of a file that grows
/// from its start are sent while it is being written. A file that is written while it is flushed is changed again
/// afterwards.
///
/// Each byte of the file, up to its size, is in one of these:
/// - `written`: in the staging file;
/// - `sent`: in a part of the multipart upload under way, and punched out here. The store shows no part of an upload,
///   so whoever wants such a byte makes the upload complete first;
/// - below the base's end: in the object that this is a change of;
/// - otherwise it is zero.
///
/// Locks: one, a leaf but for the staging area's. The staging file is written and read under it: that is a copy to or
/// from the page cache.
package final class StagedFile: Sendable {
    package typealias Base = PendingUpload.Base

    /// What all staged files of a mount share.
    package struct Context: Sendable {
        package var store: any ObjectStore
        package var area: StagingArea
        package var contents: ContentCache
        package var writer: MetadataWriter
        /// For content that is stored; nil for the bucket's own.
        package var storageClass: StorageClass?
        /// Parts of a growing file are sent before it is flushed. Not where its attributes could not be changed once it
        /// is stored (an archive class), nor where it must be told from another's after a crash (`write_back`): the
        /// attributes of an upload in parts are those of its beginning.
        package var sendsAhead = true
        package var log: Logger
        package var layout: PartLayout
        /// Told before a version is sent: once it may be there, what is remembered of the object is no longer so.
        package var storing: @Sendable (ObjectKey) async -> Void
        /// Told of every version that was stored, before anybody is told that it is.
        package var stored: @Sendable (StagedFile, ObjectKey, ObjectRecord) async -> Void
        /// Keeps attributes for an object that is frozen, and cannot take them.
        package var postpone: @Sendable (ObjectKey, ObjectRecord, FileAttributes) async throws(UploadError) -> Void
        /// Told when nobody is at an accepted file any more: it is stored, or will not be.
        package var settled: @Sendable (StagedFile) async -> Void
        /// Half of the connections (`HTTPClient.Configuration.connectionsMax`), so that reads go on meanwhile.
        let slots = TransferSlots(32)
        package var notes: UploadJournal { UploadJournal(writer, log: log) }

        package init(
            store: any ObjectStore, area: StagingArea, contents: ContentCache, writer: MetadataWriter,
            storageClass: StorageClass?, log: Logger, storing: @escaping @Sendable (ObjectKey) async -> Void = { _ in },
            stored: @escaping @Sendable (StagedFile, ObjectKey, ObjectRecord) async -> Void,
            postpone: @escaping @Sendable (ObjectKey, ObjectRecord, FileAttributes) async throws(UploadError) -> Void,
            settled: @escaping @Sendable (StagedFile) async -> Void
        ) {
            self.store = store
            self.area = area
            self.contents = contents
            self.writer = writer
            self.storageClass = storageClass
            self.log = log
            layout = PartLayout(for: store.dialect)
            self.storing = storing
            self.stored = stored
            self.postpone = postpone
            self.settled = settled
        }
    }

    let context: Context
    let staging: StagingFile
    let state: Mutex<State>

    struct State {
        var key: ObjectKey
        var sizeBytes: UInt64
        var attributes: FileAttributes
        /// The object's own headers and the metadata of others; nil until somebody asked.
        var headers: ObjectHeaders?
        var base: Base?
        var baseContent: FileContent?
        /// When the file was opened for writing: an object that was replaced before that is no conflict.
        var openedAt: Timestamp
        var condition: WriteCondition
        /// Whoever made the file meant to replace what might be there (O_TRUNC): an object that was there before, and
        /// that we did not know of, is replaced.
        var replacesUnknown = false
        var written = Extents()
        var sent = Extents()
        var multipart: Multipart?
        /// Bytes that are being sent: who would write there waits.
        var inTransit: [Range<UInt64>] = []
        /// The file has content that the object has not.
        var isChanged: Bool
        /// The object has other attributes than the file.
        var hasNewAttributes = false
        /// Times were set by name, not just by writing.
        var hasOwnTime = false
        var isFlushing = false
        /// Somebody renames or removes it: nothing is sent, and nothing accepted, until that is over.
        var isHeld = false
        /// How many wait until nothing is on its way: no part is sent ahead meanwhile, or there would always be one.
        var pauses = 0
        var flushesDone: UInt64 = 0
        /// Nobody wants it stored any more.
        var isDiscarded = false
        /// Its row in the journal, once `close` has promised it.
        var journalID: Int64?
        var acceptedAt = Timestamp.epoch
        /// Somebody is at it to store what was accepted.
        var isUploading = false
        /// It is kept for `thawfs cache recover`.
        var isParked = false
        var failureTold = ""
        /// An earlier mount accepted it: what that has stored of it by then is in no journal.
        var isRestored = false
        /// How many times the journal is taking it in.
        var acceptances = 0
        /// Parts are not sent ahead of the flush any more: one could not be.
        var aheadFailure: StoreError?
        var lastFailure: UploadError?
        var sentBytes: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextWaiter: UInt64 = 0
    }

    struct Multipart {
        var upload: Task<Result<MultipartUpload, StoreError>, Never>
        var draft: ObjectDraft
        /// Those in the draft.
        var attributes: FileAttributes
        var parts: [Int: UploadedPart] = [:]
        var sending: Set<Int> = []
        /// Where the next part begins that can be sent before the file is flushed.
        var nextOffset: UInt64 = 0
        /// Why no part is sent before the flush any more.
        var hasFailed = false
    }

    /// A file that is to be made, or a change of `base`. A change that begins from nothing (`O_TRUNC`) names the object
    /// with an `end` of 0.
    package init(
        _ key: ObjectKey, base: Base?, sizeBytes: UInt64, attributes: FileAttributes, headers: ObjectHeaders?,
        condition: WriteCondition, replacesUnknown: Bool = false, isChanged: Bool, in context: Context
    ) throws(UploadError) {
        self.context = context
        staging = try context.area.makeFile()
        state = Mutex(
            State(
                key: key, sizeBytes: sizeBytes, attributes: attributes, headers: headers, base: base,
                openedAt: .now(), condition: condition, isChanged: isChanged))
        state.withLock { $0.replacesUnknown = replacesUnknown }
        context.area.add(self)
    }

    init(restoring state: State, staging: StagingFile, in context: Context) {
        self.context = context
        self.staging = staging
        self.state = Mutex(state)
        context.area.add(self)
    }

    // MARK: What it is

    package var key: ObjectKey { state.withLock { $0.key } }
    package var sizeBytes: UInt64 { state.withLock { $0.sizeBytes } }
    package var attributes: FileAttributes { state.withLock { $0.attributes } }
    /// Whether the store has less than the file.
    package var isDirty: Bool { state.withLock { $0.isDirty } }
    /// It has, or that is not certain because it is being sent something.
    package var isPending: Bool { state.withLock { $0.isPending } }
    /// Bytes of it are in an upload that is not complete, and nowhere else.
    package var isPunched: Bool { state.withLock { !$0.sent.isEmpty } }
    package var isAccepted: Bool { state.withLock { $0.isAccepted } }
    /// It cannot be stored: somebody else's object is there.
    package var hasConflict: Bool { if case .conflict = lastFailure { true } else { false } }
    /// It was accepted, is being stored, and nothing has gone wrong so far.
    var isOnItsWay: Bool { state.withLock { $0.isUploading && $0.lastFailure == nil } }
    package var lastFailure: UploadError? { state.withLock { $0.lastFailure } }

    /// What `stat` shows.
    package func look() -> (sizeBytes: UInt64, attributes: FileAttributes) {
        state.withLock { ($0.sizeBytes, $0.attributes) }
    }

    /// Whether the file needs bytes of its base that are not here.
    package var needsBase: Bool {
        state.withLock { state in
            guard let base = state.base else { return false }
            return !state.written.gaps(in: 0..<min(base.end, state.sizeBytes)).isEmpty
        }
    }

    /// There may be an object under the file's key: what it is a change of, or is to replace, or what was sent of it
    /// though nobody heard that it arrived.
    package var mayBeStored: Bool {
        state.withLock { $0.base != nil || $0.condition != .isAbsent || $0.wasSentInVain }
    }

    /// The store may have something of it that nobody heard of.
    package var wasSentInVain: Bool { state.withLock { $0.wasSentInVain } }

    /// The file counts as written to, though none of its bytes are other ones.
    package func touch() { setAttributes { $0.modified = .now() } }

    package var base: Base? { state.withLock { $0.base } }

    package func setAttributes(_ change: (inout FileAttributes) -> Void) {
        state.withLock { state in
            let before = state.attributes
            change(&state.attributes)
            guard state.attributes != before else { return }
            state.hasNewAttributes = true
            if state.attributes.modified != before.modified { state.hasOwnTime = true }
        }
    }

    /// The file has another key from now on, and so has the object that it is a change of: the caller has copied it.
    package func rename(to key: ObjectKey) { state.withLock { $0.key = key } }

    /// The object that the file is a change of lies under another key.
    package func rebase(to key: ObjectKey, etag: String) {
        let content = change { state in
            state.base?.key = key
            state.base?.etag = etag
            if state.base != nil { state.condition = .matches(etag: etag) }
            defer { state.baseContent = nil }
            return state.baseContent
        }
        content?.close()
    }

    // MARK: Writing

    fileprivate enum Outcome {
        case done
        /// Others are at work on what this needs.
        case mustWait
        /// What this needs is in an upload that must be made complete.
        case mustFlush
        case noRoom
    }

    /// Takes the bytes if that waits for nobody; else false. At the end of the file, wherever that is by now, where no
    /// offset is given.
    package func writeAtHand(_ bytes: UnsafeRawBufferPointer, at offset: UInt64?) -> Result<Bool, UploadError> {
        do throws(UploadError) {
            let outcome = try attempt { state throws(UploadError) in
                try take(bytes, at: offset ?? state.sizeBytes, &state)
            }
            guard case .done = outcome else { return .success(false) }
        } catch {
            return .failure(error)
        }
        sendAhead()
        return .success(true)
    }

    package func write(_ bytes: [UInt8], at offset: UInt64?) async throws(UploadError) {
        try await persist { state throws(UploadError) in
            let offset = offset ?? state.sizeBytes
            var outcome = Result<Outcome, UploadError>.success(.done)
            bytes.withUnsafeBytes { buffer in
                do throws(UploadError) { outcome = .success(try take(buffer, at: offset, &state)) } catch {
                    outcome = .failure(error)
                }
            }
            return try outcome.get()
        }
        sendAhead()
    }

    /// Cuts the file, or makes it longer by zeros.
    package func truncate(to sizeBytes: UInt64) async throws(UploadError) {
        guard sizeBytes <= context.layout.bytesMax else { throw .tooLarge }
        // A crash after the cut must not find a promise of bytes that are gone.
        if isAccepted { try await accept(cutTo: sizeBytes) }
        try await persist { state throws(UploadError) in try cut(to: sizeBytes, &state) }
    }

    /// Makes the range zeros, within the file.
    package func punch(_ range: Range<UInt64>) async throws(UploadError) {
        try await persist { state throws(UploadError) in try clear(range, &state) }
    }

    private func take(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ state: inout State
    ) throws(UploadError) -> Outcome {
        let (end, isTooFar) = offset.addingReportingOverflow(UInt64(bytes.count))
        guard !isTooFar, end <= context.layout.bytesMax else { throw .tooLarge }
        let range = offset..<end
        if let outcome = state.obstacle(range) { return outcome }
        let room = state.written.gaps(in: range).reduce(0) { $0 + UInt64($1.count) }
        guard context.area.take(room) else { return .noRoom }
        if case .failure(let error) = staging.file.write(bytes, at: offset) {
            context.area.give(room)
            if error.isNoSpace { return .noRoom }
            throw .local(error)
        }
        state.written.insert(range)
        state.touched(range, context.layout)
        state.sizeBytes = max(state.sizeBytes, end)
        return .done
    }

    private func cut(to sizeBytes: UInt64, _ state: inout State) throws(UploadError) -> Outcome {
        guard sizeBytes != state.sizeBytes else {
            state.touched(sizeBytes..<sizeBytes, context.layout)
            return .done
        }
        let gone = min(sizeBytes, state.sizeBytes)..<UInt64.max
        if state.inTransit.contains(where: { $0.overlaps(gone) }) { return .mustWait }
        // The part that is cut in two must be here to be sent again.
        if sizeBytes < state.sizeBytes, sizeBytes > 0, let part = context.layout.part(at: sizeBytes),
            part.range.lowerBound < sizeBytes, state.sent.overlaps(part.range)
        {
            return .mustFlush
        }
        do throws(ErrnoError) { try staging.truncate(to: min(sizeBytes, state.sizeBytes)) } catch {
            throw UploadError(error)
        }
        let before = state.written.sizeBytes
        state.written.cut(at: sizeBytes)
        state.sent.cut(at: sizeBytes)
        context.area.give(before - state.written.sizeBytes)
        if let base = state.base { state.base?.end = min(base.end, sizeBytes) }
        state.touched(gone, context.layout)
        state.sizeBytes = sizeBytes
        return .done
    }

    private func clear(_ range: Range<UInt64>, _ state: inout State) throws(UploadError) -> Outcome {
        let range = range.clamped(to: 0..<state.sizeBytes)
        guard !range.isEmpty else { return .done }
        if let outcome = state.obstacle(range) { return outcome }
        let room = state.written.gaps(in: range).reduce(0) { $0 + UInt64($1.count) }
        guard context.area.take(room) else { return .noRoom }
        do throws(ErrnoError) { try staging.punch(range) } catch {
            context.area.give(room)
            throw UploadError(error)
        }
        state.written.insert(range)
        state.touched(range, context.layout)
        return .done
    }

    private func attempt(
        _ change: (inout State) throws(UploadError) -> Outcome
    ) throws(UploadError) -> Outcome {
        let result: Result<Outcome, UploadError> = state.withLock { state in
            do throws(UploadError) { return .success(try change(&state)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Makes the change as soon as nothing stands in its way.
    private func persist(_ change: (inout State) throws(UploadError) -> Outcome) async throws(UploadError) {
        var hasFlushed = false
        var isPausing = false
        defer { if isPausing { endPause() } }
        while true {
            if Task.isCancelled { throw .store(.interrupted) }
            switch try attempt(change) {
            case .done: return
            case .mustWait:
                if !isPausing { state.withLock { $0.pauses += 1 } }
                isPausing = true
                await waitForChange()
            case .mustFlush:
                guard !state.withLock({ $0.isDiscarded }) else { throw .store(.replaced) }
                try await flush()
            case .noRoom:
                if context.area.reclaim() { continue }
                if await context.contents.blocks?.trim(for: Self.roomStep) ?? false { continue }
                if state.withLock({ $0.isSending }) {
                    await waitForChange()
                } else if !hasFlushed, isDirty {
                    try await makeRoom()
                    hasFlushed = true
                } else if context.area.isEmptying {
                    // Others that were accepted are being stored, and give their room back.
                    try? await Task.sleep(for: .milliseconds(50))
                } else {
                    throw .noSpace
                }
            }
        }
    }

    /// For how much what was read makes room at once.
    private static let roomStep: UInt64 = 16 << 20

    /// Stores the file: what is stored need not be kept here. If it cannot be, there is no room.
    private func makeRoom() async throws(UploadError) {
        do throws(UploadError) { try await flush() } catch {
            switch error {
            case .conflict: throw error
            case .store(let cause) where cause.kind == .cancelled || cause.kind == .invalidObjectState: throw error
            default:
                context.log.warning("\(key) cannot be stored, and there is no room for more of it: \(error)")
                throw .noSpace
            }
        }
    }

    /// Gives the disk what the store has as well; answers how many bytes that was.
    func evict() -> UInt64 {
        state.withLock { state in
            var given: UInt64 = 0
            for range in state.evictable(context.layout) where (try? staging.punch(range)) != nil {
                let bytes = state.written.pieces(in: range).reduce(0) { $0 + UInt64($1.count) }
                state.written.remove(range)
                if state.multipart != nil { state.sent.insert(range) }
                given += bytes
            }
            context.area.give(given)
            return given
        }
    }

    // MARK: Waiting

    /// Returns at the next change of what is in transit, whatever becomes of the task.
    func waitPatiently() async {
        await withCheckedContinuation { continuation in
            let isWaiting = state.withLock { state in
                guard state.isBusy else { return false }
                state.nextWaiter += 1
                state.waiters[state.nextWaiter] = continuation
                return true
            }
            if !isWaiting { continuation.resume() }
        }
    }

    /// Returns at the next change of what is in transit, or when the task is cancelled.
    func waitForChange() async {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = state.withLock { state in
                    guard state.isBusy, !Task.isCancelled else { return false }
                    state.waiters[id] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }

    /// Changes the state and wakes who waits for that.
    func change<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        let (result, waiters) = state.withLock { state in
            let result = body(&state)
            defer { state.waiters = [:] }
            return (result, state.waiters)
        }
        for waiter in waiters.values { waiter.resume() }
        return result
    }

    // MARK: The end

    /// Lets nothing more be sent until `release`; waits for what is on its way. Throws when the task is cancelled
    /// before that.
    package func hold() async throws(UploadError) {
        state.withLock { $0.pauses += 1 }
        defer { endPause() }
        while true {
            let isHeld = state.withLock { state in
                guard !state.isBusy else { return false }
                state.isHeld = true
                return true
            }
            if isHeld { return }
            if Task.isCancelled { throw .store(.interrupted) }
            await waitForChange()
        }
    }

    package func release() {
        change { $0.isHeld = false }
        sendAhead()
    }

    private func endPause() {
        state.withLock { $0.pauses -= 1 }
        sendAhead()
    }

    /// The file is gone: what was not stored never will be. The caller holds it.
    package func discard() async {
        let id = state.withLock { state in
            state.isDiscarded = true
            defer { state.journalID = nil }
            return state.journalID
        }
        await abortUpload()
        release()
        guard let id else { return }
        do throws(MetadataError) { try await context.writer.dropUpload(id) } catch {
            context.log.error("\(key) is gone, but the journal does not take that in: \(error)")
        }
    }

    /// What nobody is promised goes with the last who had it.
    deinit {
        let isKept = state.withLock { $0.isParked || $0.journalID != nil }
        context.area.give(state.withLock { $0.written.sizeBytes })
        if !isKept { staging.remove() }
    }

    /// Nobody has the file open, and nothing of it is only here.
    package func close() {
        let content = state.withLock { state in
            context.area.give(state.written.sizeBytes)
            state.written = Extents()
            defer { state.baseContent = nil }
            return state.baseContent
        }
        content?.close()
        if !state.withLock({ $0.isParked }) { staging.remove() }
    }
}

extension StagedFile.State {
    var isDirty: Bool { (isChanged || hasNewAttributes) && !isDiscarded }
    var isPending: Bool { isDirty || isBusy }
    var isBusy: Bool { isFlushing || isHeld || acceptances > 0 || isSending }
    var isAccepted: Bool { journalID != nil || isUploading }
    /// A flush failed, of ours or perhaps of an earlier mount's, and not because somebody else's object is there.
    var wasSentInVain: Bool {
        switch lastFailure {
        case .store: true
        case .conflict: false
        default: isRestored
        }
    }
    var isSending: Bool { !inTransit.isEmpty || !(multipart?.sending.isEmpty ?? true) }

    fileprivate func obstacle(_ range: Range<UInt64>) -> StagedFile.Outcome? {
        if inTransit.contains(where: { $0.overlaps(range) }) { return .mustWait }
        return sent.overlaps(range) ? .mustFlush : nil
    }

    /// The content of this range is not what it was.
    fileprivate mutating func touched(_ range: Range<UInt64>, _ layout: PartLayout) {
        isChanged = true
        attributes.modified = .now()
        hasOwnTime = false
        guard let stale = multipart?.parts.keys.filter({ number in
            multipart?.parts[number].map { layout.range(of: $0).overlaps(range) } ?? false
        }) else { return }
        for number in stale { multipart?.parts[number] = nil }
    }

    /// Ranges of the staging file that need not be kept.
    fileprivate func evictable(_ layout: PartLayout) -> [Range<UInt64>] {
        // Accepted content is kept until the store has it; and what is removed, or about to be, for its readers.
        guard !isAccepted, acceptances == 0, !isHeld, !isDiscarded else { return [] }
        if let multipart {
            // A last part that is short grows with the file, and is then sent again.
            let done = multipart.parts.values.filter { layout.isWhole($0) }.map(layout.range)
            return done.flatMap { written.pieces(in: $0) }.filter { range in
                !inTransit.contains { $0.overlaps(range) }
            }
        }
        guard !isChanged, !isFlushing, let base, inTransit.isEmpty else { return [] }
        return written.pieces(in: 0..<base.end)
    }
}
