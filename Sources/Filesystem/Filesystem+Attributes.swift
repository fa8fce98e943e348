internal import Logging
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
package import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    /// Changes size, mode, owner and times. What a file has besides its bytes is kept with its object, which the store
    /// copies onto itself for it; of a file that is being changed, it goes along when that is stored; of a frozen one,
    /// it is kept here until the thaw.
    package func setAttributes(
        _ number: UInt64, _ change: AttributeChange, handle: UInt64?, caller: Caller
    ) async throws(FileError) -> Node {
        guard let inode = inodes[number] else { throw .stale }
        guard (inode.directory?.view ?? inode.home?.view) == .objects, inode.version == nil else { throw .readOnly }
        if inode.directory != nil {
            if change.sizeBytes != nil { throw .isDirectory }
            try await changeAttributes(ofDirectory: number, inode) { change.apply(to: &$0, type: 0o040000) }
        } else {
            if let sizeBytes = change.sizeBytes { try await resize(number, to: sizeBytes, handle, caller) }
            if change.hasAttributes {
                try await changeAttributes(of: number) { change.apply(to: &$0, type: 0o100000) }
            }
        }
        return try await knownNode(number)
    }

    // MARK: Size

    private func resize(
        _ number: UInt64, to sizeBytes: UInt64, _ handle: UInt64?, _ caller: Caller
    ) async throws(FileError) {
        if let handle, let file = openFiles[handle], let staged = file.staged {
            // Cut to nothing, a frozen file needs no restore any more.
            if sizeBytes == 0 { file.isFrozen.store(false, ordering: .releasing) }
            if file.isFrozen.load(ordering: .acquiring) {
                throw frozen("truncating", staged.key, file.record)
            }
            do throws(UploadError) { return try await staged.truncate(to: sizeBytes) } catch {
                throw failed("truncating", staged, error)
            }
        }
        guard let inode = inodes[number] else { throw .stale }
        if inode.staged == nil, sizeBytes > 0 {
            let record = try await settledRecord(number)
            if inode.isKnownFrozen || !context.state(of: record, at: .now()).isReadable {
                let current = try await head(inode.segment, in: try home(inode))
                guard context.state(of: current, at: .now()).isReadable else {
                    throw frozen("truncating", inode.key, current)
                }
            }
        }
        let (file, _) = try await stage(number, truncates: sizeBytes == 0, seenAt: .now, caller: caller)
        defer { leave(file, of: number) }
        do throws(UploadError) { try await file.truncate(to: sizeBytes) } catch {
            throw failed("truncating", file, error)
        }
        // Whoever has it open for writing stores it by his close.
        if !openFiles.isOpenForWriting(number) { try await flush(file) }
    }

    private func home(_ inode: Inode) throws(FileError) -> Directory {
        guard let home = inode.home else { throw .isDirectory }
        return home
    }

    // MARK: Attributes

    func changeAttributes(
        of number: UInt64, _ change: (inout FileAttributes) throws(FileError) -> Void
    ) async throws(FileError) {
        if let key = inodes[number]?.key { try await moves.wait(for: key) }
        guard let inode = inodes[number] else { throw .stale }
        if let staged = inode.staged {
            var attributes = staged.attributes
            try change(&attributes)
            try requireFitting(attributes, staged.key)
            let changed = attributes
            staged.setAttributes { $0 = changed }
            if !inode.isRemoved, !openFiles.isOpenForWriting(number) { try await flush(staged) }
            return
        }
        if inode.isRemoved {
            var attributes = inode.record?.attributes ?? FileAttributes()
            try change(&attributes)
            let changed = attributes
            return inodes.update(number) { $0.record?.attributes = changed } ?? ()
        }
        var record = try await freshRecord(number)
        if record.attributes == nil { record = try await head(inode.segment, in: try home(inode)) }
        let before = record.attributes ?? FileAttributes()
        var attributes = before
        try change(&attributes)
        guard attributes != before else { return }
        try requireFitting(attributes, inode.key)
        guard store.copiesFrozen || canTakeAttributes(record) && !inode.isKnownFrozen else {
            return try await deferAttributes(inode.key, record, attributes)
        }
        var source = CopySource(key: inode.key, etag: record.etag, record: record)
        var hasAsked = false
        while true {
            do throws(StoreError) {
                var stored = try await store.replaceAttributes(source, attributes, notes: staging.notes)
                stored.sizeBytes = record.sizeBytes
                await learned(inode.key, version: nil, stored)
                // Of what was stored in parts the copy has another ETag: whoever has it open goes on with that.
                if stored.etag != record.etag {
                    openFiles.move(number, from: record.etag, to: stored) { content(inode, stored) }
                }
                return
            } catch {
                if error.kind == .preconditionFailed, !hasAsked {
                    hasAsked = true
                    record = try await head(inode.segment, in: try home(inode))
                    source = CopySource(key: inode.key, etag: record.etag, record: record)
                    continue
                }
                if error.kind == .invalidObjectState {
                    return try await deferAttributes(inode.key, record, attributes)
                }
                report("changing the attributes", inode.key, error)
                throw FileError(error)
            }
        }
    }

    func changeAttributes(
        ofDirectory number: UInt64, _ inode: Inode, _ change: (inout FileAttributes) throws(FileError) -> Void
    ) async throws(FileError) {
        if let prefix = inode.directory?.prefix { try await moves.wait(for: prefix) }
        guard let directory = inode.directory, let home = inode.home else {
            // The root of a bucket has nothing that stands for it.
            guard let prefix = inode.directory?.prefix, !prefix.isEmpty else { throw .notPermitted }
            return try await storeMarker(prefix, number, change)
        }
        try await storeMarker(directory.prefix, number, change)
        let attributes = inodes[number]?.attributes
        await remember(
            MetadataRow(segment: inode.segment, kind: .directory(attributes), checkedAt: .now()), in: home)
    }

    private func storeMarker(
        _ prefix: ObjectKey, _ number: UInt64, _ change: (inout FileAttributes) throws(FileError) -> Void
    ) async throws(FileError) {
        var headers = ObjectHeaders(standard: ["content-type": "application/x-directory"])
        var attributes = FileAttributes()
        do throws(StoreError) {
            let known = try await store.describe(prefix, version: nil)
            headers = known.headers
            attributes = known.record.attributes ?? attributes
        } catch {
            guard error.kind == .noSuchKey else {
                report("HEAD", prefix, error)
                throw FileError(error)
            }
        }
        let before = attributes
        try change(&attributes)
        if attributes != before {
            try requireFitting(attributes, prefix)
            headers.metadata = attributes.merged(into: headers.metadata)
            do throws(StoreError) { _ = try await store.put(prefix, .bytes([]), ObjectDraft(headers: headers)) } catch {
                report("changing the attributes", prefix, error)
                throw FileError(error)
            }
        }
        let changed = attributes
        inodes.update(number) { inode in
            inode.attributes = changed
            inode.markerCheckedAt = .now()
            inode.namesChangedAt = nil
        }
    }

    private func requireFitting(_ attributes: FileAttributes, _ key: ObjectKey) throws(FileError) {
        guard FileAttributes.fits(attributes.merged(into: [:]), store.dialect) else {
            log.notice("the extended attributes of \(key) are more than the store keeps with an object")
            throw .noSpace
        }
    }
}

extension AttributeChange {
    var hasAttributes: Bool { permissions != nil || uid != nil || gid != nil || modified != nil }

    /// `type` is given to what has no mode yet.
    func apply(to attributes: inout FileAttributes, type: UInt32) {
        if let permissions {
            attributes.mode = (attributes.mode.map { $0 & 0o170000 } ?? type) | permissions & 0o7777
        }
        if let uid { attributes.uid = uid }
        if let gid { attributes.gid = gid }
        if let modified { attributes.modified = modified }
    }
}
