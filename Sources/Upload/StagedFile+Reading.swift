internal import Content
internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore

extension StagedFile {
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
            throw UploadError(ofBase: error)
        }
    }
}
