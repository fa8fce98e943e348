internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

/// Mode, owner and time of a directory are in the headers of its marker, which no listing tells. A walk along a path
/// asks for none of them. Who wants to know them of one directory (`stat`) mostly reads it next: so its first page is
/// listed, which shows whether there is a marker at all. Only if there is, it costs a HEAD.
extension Filesystem {
    /// Tells the kernel to ask for a directory's attributes, should anybody want them.
    func markingDue(_ node: Node) -> Node {
        guard node.isDirectory, isMarkerDue(node.inode) else { return node }
        var node = node
        node.attributesAreDue = true
        return node
    }

    /// Whether nobody has looked at the directory's marker lately, and one name more may be asked for.
    func isMarkerDue(_ number: UInt64) -> Bool {
        guard let inode = inodes[number], let directory = inode.directory, let home = inode.home,
            directory.view == .objects, !isFresh(inode.markerCheckedAt),
            // What is trusted for ever was asked once.
            inode.attributes == nil || configuration.metadataTTL != nil,
            // A bucket has no marker.
            !(store.hasFixedTopLevel && directory.prefix.isTopLevel)
        else { return false }
        return home.mayAskAttributes
    }

    /// Looks at the directory's marker. One that cannot be looked at changes nothing of what is known.
    func askMarker(_ number: UInt64, _ inode: Inode) async {
        guard let directory = inode.directory, let home = inode.home else { return }
        home.progress.withLock { $0.attributesAsked += 1 }
        let attributes = await markerAttributes(of: directory)
        if let attributes {
            // Says nothing of whether the directory is there.
            let row = MetadataRow(segment: inode.segment, kind: .directory(attributes), checkedAt: inode.checkedAt)
            await remember(row, in: home)
        }
        inodes.update(number) { inode in
            if let attributes { inode.attributes = attributes }
            inode.markerCheckedAt = .now()
        }
    }

    /// What the directory's marker says; nil when that could not be found out.
    private func markerAttributes(of directory: Directory) async -> FileAttributes? {
        if await isListedWithoutMarker(directory) { return FileAttributes() }
        do throws(StoreError) {
            return try await store.head(directory.prefix, version: nil).attributes
        } catch {
            if error.kind == .noSuchKey { return FileAttributes() }
            report("HEAD", directory.prefix, error)
            return nil
        }
    }

    private func isListedWithoutMarker(_ directory: Directory) async -> Bool {
        // A listing that nobody may use is for nothing, and so is one of what is known.
        guard isFresh(.now()), !directory.progress.withLock({ $0.hasMarker }) else { return false }
        do throws(FileError) {
            if listingUnderWay(of: directory) == nil, isComplete(try await listingState(of: directory)) { return false }
            let listing = try await listing(of: directory)
            try await listing.begin()
            return listing.hasMarker == false
        } catch {
            // It was told of, and a HEAD may be allowed where a listing is not.
            return false
        }
    }
}
