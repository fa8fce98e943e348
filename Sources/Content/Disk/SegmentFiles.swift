internal import Glibc
internal import ThawCore

/// Reads and writes the segments' files, each segment always through the same one of these, so that what happens to one
/// segment happens in order. On a thread of its own: a disk may take its time.
actor SegmentFiles {
    private let directory: String
    private let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(directory: String, number: Int) throws(Thread.Failure) {
        self.directory = directory
        executor = try ThreadExecutor(name: "blocks-\(number)")
    }

    enum ReadFailure: Error {
        case absent
        case local(ErrnoError)
        /// The disk gave back something else than was written: these bytes of the object.
        case damaged(Range<UInt64>)
    }

    /// Fills the part's bytes of this range, which lies in one segment.
    func read(
        _ name: SegmentName, _ range: Range<UInt64>, _ sums: [UInt64], into part: Part
    ) throws(ReadFailure) {
        let descriptor = open(directory + "/" + name.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw errno == ENOENT ? .absent : .local(ErrnoError(code: errno)) }
        let file = LocalFile(descriptor: descriptor)
        let buffer = part.room(range)
        switch file.read(into: buffer, at: range.lowerBound % Blocks.segmentBytes) {
        case .failure(let error): throw .local(error)
        case .success(let count) where count < range.count: throw .damaged(range)
        case .success: break
        }
        for (index, sum) in sums.enumerated() {
            let start = index * Int(Blocks.blockBytes)
            let block = start..<min(start + Int(Blocks.blockBytes), buffer.count)
            guard Blocks.sum(UnsafeRawBufferPointer(rebasing: buffer[block])) == sum else {
                throw .damaged(range.lowerBound + UInt64(block.lowerBound)..<range.lowerBound + UInt64(block.upperBound))
            }
        }
    }

    /// Writes the part's bytes of this range, which lies in one segment; answers the checksums of its blocks. They are
    /// made of what is in memory: what a disk that is full or failing makes of it is found out when it is read.
    func write(_ name: SegmentName, _ range: Range<UInt64>, from part: Part) throws(ErrnoError) -> [UInt64] {
        let path = directory + "/" + name.path
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        var descriptor = open(path, flags, 0o600)
        if descriptor < 0, errno == ENOENT {
            mkdir(directory + "/" + name.directory, 0o700)
            descriptor = open(path, flags, 0o600)
        }
        guard descriptor >= 0 else { throw ErrnoError(code: errno) }
        let file = LocalFile(descriptor: descriptor)
        let bytes = part.bytes(range)
        try file.write(bytes, at: range.lowerBound % Blocks.segmentBytes).get()
        return stride(from: 0, to: bytes.count, by: Int(Blocks.blockBytes)).map { start in
            let block = start..<min(start + Int(Blocks.blockBytes), bytes.count)
            return Blocks.sum(UnsafeRawBufferPointer(rebasing: bytes[block]))
        }
    }

    /// Removes the file, if that holds when it is its turn; answers whether it did.
    @discardableResult
    func remove(_ name: SegmentName, if isUnwanted: @Sendable () -> Bool = { true }) -> Bool {
        isUnwanted() && unlink(directory + "/" + name.path) == 0
    }

    /// Reads a whole segment and tells whether each block that is there is what was written.
    func check(_ name: SegmentName, _ segment: CachedObject.Segment, sizeBytes: UInt64) -> Bool {
        let descriptor = open(directory + "/" + name.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return false }
        let file = LocalFile(descriptor: descriptor)
        return withUnsafeTemporaryAllocation(byteCount: Int(Blocks.blockBytes), alignment: 4096) { buffer in
            segment.sums.indices.allSatisfy { index in
                guard segment.sums[index] != 0 else { return true }
                let offset = UInt64(index) * Blocks.blockBytes
                let start = UInt64(name.number) * Blocks.segmentBytes + offset
                let block = UnsafeMutableRawBufferPointer(
                    rebasing: buffer[..<Int(min(Blocks.blockBytes, sizeBytes - min(start, sizeBytes)))])
                guard case .success(block.count) = file.read(into: block, at: offset) else { return false }
                return Blocks.sum(UnsafeRawBufferPointer(block)) == segment.sums[index]
            }
        }
    }
}
