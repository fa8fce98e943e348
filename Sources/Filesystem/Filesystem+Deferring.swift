internal import Logging
package import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
internal import ThawCore
internal import Upload
internal import Wire

/// Attributes of objects that cannot take them now. To write them, the store copies the object onto itself: a frozen
/// one cannot be copied, and of a restored one the copy is frozen again, whoever may be reading it. So they are kept
/// here, and shown from here, and written when the object is online, when its restored copy is given up, or just before
/// that lapses.
final class DeferredAttributesTable: Sendable {
    private let kept = Mutex<[ObjectKey: DeferredAttributes]>([:])
    private let isUsed = Atomic(false)

    subscript(key: ObjectKey) -> DeferredAttributes? {
        get { isUsed.load(ordering: .acquiring) ? kept.withLock { $0[key] } : nil }
        set {
            kept.withLock { $0[key] = newValue }
            isUsed.store(true, ordering: .releasing)
        }
    }

    var all: [DeferredAttributes] { kept.withLock { Array($0.values) } }
}

extension Filesystem {
    /// How long before a restored copy lapses its object's attributes are written.
    private static let writeBackMargin = Duration.seconds(15 * 60)

    /// Keeps here what the object's headers cannot take.
    func deferAttributes(
        _ key: ObjectKey, _ record: ObjectRecord, _ attributes: FileAttributes
    ) async throws(FileError) {
        do throws(MetadataError) { try await keep(key, record, attributes) } catch {
            throw failure("changing the attributes", key, error)
        }
        await learned(key, version: nil, record)
    }

    /// The same for a file that is being stored, which is told of when it is.
    func postpone(
        _ key: ObjectKey, _ record: ObjectRecord, _ attributes: FileAttributes
    ) async throws(UploadError) {
        do throws(MetadataError) { try await keep(key, record, attributes) } catch { throw .notRemembered("\(error)") }
    }

    private func keep(
        _ key: ObjectKey, _ record: ObjectRecord, _ attributes: FileAttributes
    ) async throws(MetadataError) {
        let kept = DeferredAttributes(key: key, etag: record.etag, attributes: attributes)
        try await writer.defer(kept)
        deferred[key] = kept
    }

    /// The object was copied to another name, with the headers that it had.
    func moveDeferred(_ kept: DeferredAttributes, to key: ObjectKey) async {
        guard stagedFiles[key] == nil else { return }
        do throws(StoreError) {
            let copy = try await store.head(key, version: nil)
            do throws(FileError) { try await deferAttributes(key, copy, kept.attributes) } catch { return }
            await forgetDeferred(kept)
        } catch {
            report("moving the attributes that were kept", key, error)
        }
    }

    /// What an earlier mount has kept, and when it is to be written, as far as that is known.
    package func resumeDeferred() async throws(MetadataError) {
        for kept in try await reader.deferredAttributes() {
            deferred[kept.key] = kept
            guard let place = place(of: kept.key),
                case .object(let known)? = try await reader.rows([place.segment], below: place.directory).first?.kind
            else { continue }
            _ = withDeferred(kept.key, known)
        }
    }

    /// What the store says of an object, with the attributes that it is to have.
    func withDeferred(_ key: ObjectKey, _ record: ObjectRecord?) -> ObjectRecord? {
        guard let kept = deferred[key] else { return record }
        guard var record, record.etag == kept.etag else {
            // Another object has this name by now, or none.
            deferred[key] = nil
            Task { await self.forgetDeferred(kept) }
            return record
        }
        record.attributes = kept.attributes
        switch context.state(of: record, at: .now()) {
        case .online: Task { await self.writeDeferred(key) }
        case .restored(let until?): writeDeferred(key, before: until)
        case .restored, .frozen, .restoring: break
        }
        return record
    }

    private func writeDeferred(_ key: ObjectKey, before lapse: Timestamp) {
        let isNew = deferredTimes.withLock { $0.updateValue(lapse, forKey: key) != lapse }
        guard isNew else { return }
        Task { [weak self] in
            let wait = lapse - Timestamp.now() - Self.writeBackMargin
            if wait > .zero { try? await Task.sleep(for: wait) }
            guard let self, self.deferredTimes.withLock({ $0[key] }) == lapse else { return }
            guard self.knownFiles(key, version: nil).allSatisfy({ !self.openFiles.isOpen($0) }) else { return }
            await self.writeDeferred(key)
        }
    }

    /// Gives the object the attributes that were kept for it. A restored copy of it is gone then.
    @discardableResult
    func writeDeferred(_ key: ObjectKey) async -> Bool {
        guard let kept = deferred[key] else { return false }
        let stored: ObjectRecord
        do throws(StoreError) {
            stored = try await store.replaceAttributes(
                CopySource(key: key, etag: kept.etag), kept.attributes, notes: staging.notes)
        } catch {
            switch error.kind {
            case .invalidObjectState: break
            case .noSuchKey, .preconditionFailed: await forgetDeferred(kept)
            default: report("writing the attributes that were kept", key, error)
            }
            return false
        }
        do throws(MetadataError) {
            if try await writer.finishDeferred(kept), deferred[key] == kept { deferred[key] = nil }
        } catch {
            _ = failure("writing the attributes that were kept", key, error)
        }
        log.info("the attributes of \(key) that were changed while it was frozen are written to it")
        await learned(key, version: nil, stored)
        return true
    }

    /// The object that they are for is gone, or another. Not so what was kept since.
    func forgetDeferred(_ kept: DeferredAttributes?) async {
        guard let kept else { return }
        if deferred[kept.key] == kept { deferred[kept.key] = nil }
        do throws(MetadataError) { try await writer.finishDeferred(kept) } catch {
            _ = failure("forgetting attributes", kept.key, error)
        }
    }

    /// Whether the store can copy the object onto itself without harm to who reads it.
    func canTakeAttributes(_ record: ObjectRecord) -> Bool {
        if case .online = context.state(of: record, at: .now()) { true } else { false }
    }
}
