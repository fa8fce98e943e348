internal import Content
internal import Logging
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
internal import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    /// Renames a file or a directory, over what may be there. What the store has is copied and then deleted, so that at
    /// every moment an object is in one of the places at least. A frozen object, or one anywhere below a directory,
    /// cannot be copied: then nothing is changed.
    package func rename(
        parent: UInt64, name: [UInt8], newParent: UInt64, newName: [UInt8], _ target: RenameTarget
    ) async throws(FileError) {
        let (from, to) = (try await writableDirectory(parent), try await writableDirectory(newParent))
        guard let source = try await find(name, in: from) else { throw .noSuchEntry }
        guard source.row.segment != Names.versionsSegment else { throw .readOnly }
        let replaced = try await find(newName, in: to)
        if let replaced {
            if target == .mustNotExist { throw .alreadyExists }
            if from.inode == to.inode, replaced.row.segment == source.row.segment { return }
        }
        // Over what is there already, under whatever name that shows.
        let bare: [UInt8]
        if let replaced { bare = Array(replaced.bare) } else { bare = try newSegment(newName, in: to) }
        let isObject = source.row.kind.isObject
        if let replaced, replaced.row.kind.isObject != isObject { throw isObject ? .isDirectory : .notDirectory }
        let newSegment = isObject ? bare : bare + [UInt8(ascii: "/")]
        let names = [from.key(of: source.row.segment), to.key(of: newSegment)]
        try await moves.begin(names)
        defer { moves.end(names) }
        // A directory above may have got another name meanwhile.
        guard names == [from.key(of: source.row.segment), to.key(of: newSegment)] else { throw .stale }
        let kept = deferred.all.filter { isObject ? $0.key == names[0] : $0.key.hasPrefix(names[0]) }
        let replacedAttributes = isObject ? deferred[names[1]] : nil
        if isObject {
            try await renameFile(source.row.segment, in: from, to: newSegment, in: to, over: replaced?.row)
        } else {
            try await renameDirectory(source.row.segment, in: from, to: newSegment, in: to, over: replaced?.row)
        }
        await forgetDeferred(replacedAttributes)
        for one in kept {
            await moveDeferred(one, to: names[1] + one.key.bytes.dropFirst(names[0].bytes.count))
        }
        await keepDirectory(from)
        namesChanged(in: from)
        if from.inode != to.inode { namesChanged(in: to) }
    }

    // MARK: Files

    private func renameFile(
        _ segment: [UInt8], in from: Directory, to newSegment: [UInt8], in to: Directory, over replaced: MetadataRow?
    ) async throws(FileError) {
        let (key, newKey) = (from.key(of: segment), to.key(of: newSegment))
        let number = existingInode(segment, in: from)
        let oldNumber = existingInode(newSegment, in: to)
        var held: [StagedFile] = []
        defer { for file in held { file.release() } }
        let replacedFile = stagedFiles[newKey]
        var replacedETag = replaced?.etag
        if let replacedFile {
            try await hold(replacedFile, of: oldNumber, "rename")
            held.append(replacedFile)
            // It may have been stored meanwhile.
            if let base = replacedFile.base, base.key == newKey { replacedETag = base.etag }
        }
        if let oldNumber { try await hide(oldNumber) }
        if let file = stagedFiles[key] {
            // What was promised of the target is given up for a promise only.
            let isPromised = file.isAccepted || !(replacedFile?.isAccepted ?? false)
            if isPromised, try await begin(file, to: newKey, over: replacedETag) {
                held.append(file)
                if let replacedFile { await drop(replacedFile) }
                // Should it be there after all; what cannot be deleted is in the log.
                if file.wasSentInVain { try? await deleteObject(key) }
                stagedFiles.move(file, to: newKey)
                await remember(MetadataRow(segment: segment, kind: .absent, checkedAt: .now()), in: from)
                if let oldNumber { await removeName(oldNumber) }
                if let number { move(number, to: newSegment, in: to) }
                return
            }
            try await flushAndHold(file)
            held.append(file)
        }
        let (record, row, copy) = try await copyObject(segment, in: from, to: newKey, replaces: replaced != nil)
        if let replacedFile { await drop(replacedFile) }
        var copied = copy
        copied.sizeBytes = record.sizeBytes
        copied.attributes = record.attributes
        await remember(MetadataRow(segment: newSegment, kind: .object(copied), checkedAt: .now()), in: to)
        if let oldNumber { await removeName(oldNumber) }
        // Before the journal forgets the rename, or a crash leaves a name that the store does not have.
        await remember(MetadataRow(segment: segment, kind: .absent, checkedAt: .now()), in: from)
        do throws(TreeCopyError) { try await trees.finishRename(row) } catch {
            await expire(key)
            throw failedTree("rename", key, error)
        }
        if let file = stagedFiles[key] {
            stagedFiles.move(file, to: newKey)
            file.rebase(to: newKey, etag: copied.etag)
        }
        guard let number else { return }
        move(number, to: newSegment, in: to)
        inodes.update(number) { inode in
            inode.record = copied
            inode.checkedAt = .now()
            inode.openedETag = copied.etag
        }
        openFiles.move(number, from: record.etag, to: copied) {
            contents.content(key: newKey, version: nil, etag: copied.etag, sizeBytes: copied.sizeBytes)
        }
    }

    /// Of a file that somebody goes on writing.
    private static let flushesMax = 10

    /// All of the file is in the store, and nothing more is sent until it is released.
    private func flushAndHold(_ file: StagedFile) async throws(FileError) {
        do throws(UploadError) {
            for _ in 0..<Self.flushesMax {
                try await file.flush()
                try await file.hold()
                if !file.isDirty { return }
                file.release()
            }
        } catch {
            throw failed("rename", file, error)
        }
        log.warning("rename of \(file.key) refused: it is being written all the time")
        throw .busy
    }

    /// Copies what the store has of the file; what was known of it may be out of date once. The rename ends with the
    /// journal's row.
    private func copyObject(
        _ segment: [UInt8], in directory: Directory, to newKey: ObjectKey, replaces: Bool
    ) async throws(FileError) -> (record: ObjectRecord, row: RenameRow, copied: ObjectRecord) {
        let key = directory.key(of: segment)
        var record = try await recordToCopy(segment, in: directory)
        var hasAsked = false
        while true {
            do throws(TreeCopyError) {
                let source = CopySource(key: key, etag: record.etag, record: record)
                let (row, copied) = try await trees.beginRename(of: source, to: newKey, replaces: replaces)
                return (record, row, copied)
            } catch {
                if case .store(_, let cause) = error, cause.kind == .preconditionFailed, !hasAsked {
                    hasAsked = true
                    record = try await head(segment, in: directory)
                    continue
                }
                if case .frozen = error { throw frozen("rename", key, record) }
                await expire(newKey)
                throw failedTree("rename", key, error)
            }
        }
    }

    /// A file that the store has nothing of is stored under its new name only.
    private func begin(
        _ file: StagedFile, to key: ObjectKey, over etag: String?
    ) async throws(FileError) -> Bool {
        do throws(UploadError) { return try await file.beginRename(to: key, over: etag) } catch {
            throw failed("rename", file, error)
        }
    }

    private func drop(_ file: StagedFile) async {
        stagedFiles.remove(file)
        await file.discard()
    }

    /// The object, as far as it must be known to be copied; frozen ones cannot be.
    private func recordToCopy(_ segment: [UInt8], in directory: Directory) async throws(FileError) -> ObjectRecord {
        let rows = try await rows([segment], in: directory)
        guard case .object(let known)? = rows.first?.kind else { throw .noSuchEntry }
        let key = directory.key(of: segment)
        let number = existingInode(segment, in: directory)
        let isKnownFrozen = number.flatMap { inodes[$0]?.isKnownFrozen } ?? false
        if store.copiesFrozen { return known }
        // Of what was stored just now, the row does not tell the class; of what was listed, perhaps not whether it is
        // archived.
        let isToldWhole = !known.storageClass.name.isEmpty && !known.mayBeArchivedUnseen
        if !isToldWhole || isKnownFrozen || !context.state(of: known, at: .now()).isReadable {
            // It may have been restored since.
            let record = try await head(segment, in: directory)
            guard context.state(of: record, at: .now()).isReadable else { throw frozen("rename", key, record) }
            return record
        }
        return known
    }

    func frozen(_ operation: String, _ key: ObjectKey, _ record: ObjectRecord) -> FileError {
        log.warning(
            "\(operation) refused: \(key) is frozen (\(record.storageClass.name)) and cannot be copied; restore it first: thawfs restore")
        return .busy
    }

    // MARK: Directories

    private func renameDirectory(
        _ segment: [UInt8], in from: Directory, to newSegment: [UInt8], in to: Directory, over replaced: MetadataRow?
    ) async throws(FileError) {
        let (prefix, newPrefix) = (from.key(of: segment), to.key(of: newSegment))
        guard !newPrefix.hasPrefix(prefix) else { throw .invalid }
        if store.hasFixedTopLevel, prefix.isTopLevel || newPrefix.isTopLevel { throw .crossesStores }
        if replaced != nil { try await requireEmpty(newPrefix) }
        var held: [StagedFile] = []
        defer { for file in held { file.release() } }
        for file in stagedFiles.files(below: prefix) {
            try await flushAndHold(file)
            held.append(file)
        }
        let attributes = existingInode(segment, in: from).flatMap { inodes[$0]?.attributes }
        do throws(TreeCopyError) {
            try await trees.renameTree(from: prefix, to: newPrefix) { [self] key, record in
                await isFrozen(key, record)
            } moved: { [self] in
                do throws(MetadataError) { try await writer.moveTree(from: prefix, to: newPrefix, at: .now()) } catch {
                    _ = failure("rename", prefix, error)
                }
                await remember(MetadataRow(segment: newSegment, kind: .directory(attributes), checkedAt: .now()), in: to)
            }
        } catch {
            switch error {
            case .frozen, .notEmpty: break
            // Some of it may be in either place, or in both.
            case .store, .journal, .cancelled: for tree in [prefix, newPrefix] { await expire(tree) }
            }
            throw failedTree("rename", prefix, error)
        }
        if let old = existingInode(newSegment, in: to) { await removeName(old) }
        guard let number = existingInode(segment, in: from) else { return }
        move(number, to: newSegment, in: to)
        inodes[number]?.directory?.move(to: newPrefix, in: to)
        await moveContent(from: prefix, to: newPrefix)
    }

    /// Whether the object, or what is below the prefix, is there, nobody knows: whoever looks asks the store.
    private func expire(_ key: ObjectKey) async {
        await trees.forget(key)
        // In memory, to be among those that are known.
        if !key.isPrefix, let place = place(of: key) { _ = inodes[place.number] }
        let known = inodes.withLock { inodes in
            inodes.filter { _, inode in
                inode.home?.view == .objects && (key.isPrefix ? inode.key.hasPrefix(key) : inode.key == key)
            }
        }
        for (number, inode) in known {
            inodes.update(number) { $0.checkedAt = .epoch }
            if let directory = inode.directory { directory.move(to: directory.prefix, in: nil) }
            kernelCache.value?.forgetAttributes(of: number)
            if let home = inode.home { kernelCache.value?.forgetName(inode.name, in: home.inode) }
        }
        guard key.isPrefix else { return }
        let homes = inodes.withLock { inodes in
            inodes.values.compactMap(\.directory).filter { $0.view == .objects && $0.prefix.hasPrefix(key) }
        }
        forgetIdleNames(Set(homes.map(\.inode)))
    }

    /// Everything that is known below a renamed directory lies elsewhere now.
    private func moveContent(from prefix: ObjectKey, to newPrefix: ObjectKey) async {
        let directories = inodes.withLock { inodes in
            inodes.values.compactMap(\.directory).filter { $0.prefix.hasPrefix(prefix) && $0.view == .objects }
        }
        for directory in directories {
            directory.move(to: newPrefix + directory.prefix.bytes.dropFirst(prefix.bytes.count), in: nil)
        }
        for file in stagedFiles.files(below: prefix) {
            let key = newPrefix + file.key.bytes.dropFirst(prefix.bytes.count)
            stagedFiles.move(file, to: key)
            do throws(StoreError) { file.rebase(to: key, etag: try await store.head(key, version: nil).etag) } catch {
                report("rename of an open file", key, error)
            }
        }
        let files = inodes.withLock { inodes in
            inodes.filter { $0.value.directory == nil && !$0.value.isRemoved && $0.value.key.hasPrefix(newPrefix) }
        }
        for (number, inode) in files {
            inodes.update(number) { $0.checkedAt = .epoch }
            // A copy may have another ETag than what it is a copy of.
            guard openFiles.isOpen(number), let home = inode.home, inode.version == nil,
                let record = try? await head(inode.segment, in: home)
            else { continue }
            openFiles.move(number, from: inode.record?.etag ?? record.etag, to: record) {
                contents.content(
                    key: home.key(of: inode.segment), version: nil, etag: record.etag, sizeBytes: record.sizeBytes)
            }
        }
    }

    /// Whether the object can be copied is asked of the store where listings do not tell.
    func isFrozen(_ key: ObjectKey, _ listed: ObjectRecord) async -> Bool {
        if store.copiesFrozen { return false }
        var record = listed
        if record.mayBeArchivedUnseen, let asked = try? await store.head(key, version: nil) { record = asked }
        return !context.state(of: record, at: .now()).isReadable
    }

    func failedTree(_ operation: String, _ prefix: ObjectKey, _ error: TreeCopyError) -> FileError {
        switch error {
        case .frozen(let key):
            log.warning(
                "\(operation) of \(prefix) refused, nothing is changed: \(key) is frozen and cannot be copied; restore it first: thawfs restore -r")
            return .busy
        case .notEmpty: return .notEmpty
        case .store(let key, let cause):
            report(operation, key, cause)
            return FileError(cause)
        case .journal(let cause): return failure(operation, prefix, cause)
        case .cancelled: return .interrupted
        }
    }

    // MARK: Inodes

    /// The inode has another name from now on; its number stays.
    private func move(_ number: UInt64, to segment: [UInt8], in directory: Directory) {
        let hash = InodeNumber.of(segment, parent: directory.inode)
        inodes.update(number) { inode in
            inode.home = directory
            inode.segment = segment
            inode.isPlainlyNamed = true
            inode.movedHash = hash
        }
        inodes.setNumber(number, for: hash)
    }
}

extension ObjectKey {
    /// A directory's, below nothing else.
    var isTopLevel: Bool { bytes.firstIndex(of: UInt8(ascii: "/")) == bytes.count - 1 }
}

extension MetadataRow {
    /// Of what the store has; nil for what it has not yet.
    fileprivate var etag: String? {
        if case .object(let record) = kind, !record.etag.isEmpty { record.etag } else { nil }
    }
}
