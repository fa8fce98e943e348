internal import Content
internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    /// Gives the entry an inode, or refreshes the one it has, and counts a lookup.
    func remember(_ found: Found, in directory: Directory) -> Node {
        inodes.withLock { remember(found, in: directory, &$0) }
    }

    /// The same under the table's lock. What was read of the directory at that time may be out of date.
    func remember(
        _ found: Found, in directory: Directory, readAt: Timestamp? = nil, _ inodes: inout [UInt64: Inode]
    ) -> Node {
        let hash = InodeNumber.of(found.row.segment, parent: directory.inode)
        var number = self.inodes.number(hash)
        while let known = inodes.index(forKey: number) {
            guard inodes.values[known].isAt(found.row.segment, in: directory) else {
                number &+= 1
                continue
            }
            inodes.values[known].lookups += 1
            inodes.values[known].isPlainlyNamed = found.isPlainlyNamed
            inodes.values[known].learn(found.row)
            return node(number, inodes.values[known])
        }
        if number != hash { self.inodes.setNumber(number, for: hash) }
        var inode = Inode(
            home: directory, segment: found.row.segment, isPlainlyNamed: found.isPlainlyNamed,
            directory: directory.child(found.row, inode: number),
            record: nil, checkedAt: found.row.checkedAt, lookups: 1)
        if number != hash { inode.movedHash = hash }
        inode.learn(found.row)
        if inode.directory == nil, !stagedFiles.isEmpty { inode.staged = stagedFiles[inode.key] }
        // An inode that is on disk may have learned better since.
        if let readAt, directory.changedAt >= readAt { inode.checkedAt = .epoch }
        inodes[number] = inode
        if inode.directory == nil { self.inodes.arrived(number, count: inodes.count) }
        return node(number, inode)
    }

    func node(_ number: UInt64, _ inode: Inode) -> Node {
        if let staged = inode.staged {
            let (sizeBytes, attributes) = staged.look()
            return Node(
                inode: number, kind: .file, sizeBytes: sizeBytes, modified: attributes.modified ?? mountedAt,
                permissions: attributes.permissions, uid: attributes.uid, gid: attributes.gid, checkedAt: .now(),
                attributesAreDue: openFiles.hasContent(number))
        }
        let attributes = inode.directory == nil ? inode.objectAttributes : inode.attributes
        let kind: Node.Kind =
            inode.directory != nil ? .directory : attributes?.isSymbolicLink ?? false ? .symbolicLink : .file
        let modified = attributes?.modified ?? inode.modified ?? mountedAt
        return Node(
            inode: number, kind: kind, sizeBytes: inode.sizeBytes,
            modified: inode.namesChangedAt.map { max($0, modified) } ?? modified,
            permissions: attributes?.permissions, uid: attributes?.uid, gid: attributes?.gid,
            checkedAt: inode.checkedAt,
            attributesAreDue: inode.directory == nil && openFiles.hasOther(number, than: inode.record?.etag))
    }

    /// What is shown to somebody who reads an earlier version than the name has now: his own, or the kernel would end
    /// his file where the other one ends. Throws `stale` when the file is being changed.
    func earlierNode(_ number: UInt64, _ handle: UInt64) throws(FileError) -> Node? {
        guard let file = openFiles[handle], case .object(let content) = file.source else { return nil }
        if file.isOutOfDate.load(ordering: .acquiring) { throw .stale }
        guard let inode = inodes[number], inode.record?.etag != content.etag else { return nil }
        let record = file.record
        var node = node(number, inode)
        node.sizeBytes = content.sizeBytes
        node.modified = record.attributes?.modified ?? record.modified
        return node
    }
}
