"""pictures: Candidate -> Photo rows, and their bytes as blobs."""

import hashlib

from spavl.pictures.config import PLAN, PicturesConfig
from spavl.pictures.decode import Undecodable, decode
from spavl.pictures.fetch import open_fetch
from spavl.pictures.unfetchable import Unfetchable
from spavl.records import Candidate, Photo
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[PicturesConfig]) -> Manifest:
    async with open_fetch(job.settings.downloads, job.run.path / "downloads", job.in_flight) as fetch:

        async def work(candidate: Candidate) -> Made[Photo]:
            try:
                data = await fetch(candidate.source)
                picture = decode(data)
            except Unfetchable as error:
                return Made(rejects=[reject(candidate, str(error), candidate.source)], passing=error.passing)
            except Undecodable as error:
                return Made(rejects=[reject(candidate, str(error), candidate.source)])
            if min(picture.size) < job.settings.smallest_side:
                return Made(rejects=[reject(candidate, "too_small", candidate.source)])
            photo = Photo(
                candidate_id=candidate.id,
                blob=job.run.blobs.put(data),
                original=hashlib.sha256(data).hexdigest(),
                width=picture.width,
                height=picture.height,
                phash="",
                measures=(),
            )
            return Made([photo])

        candidates, total = job.run.read("candidates", Candidate), job.run.count("candidates", Candidate)
        return await run_rows(job, PLAN, candidates, total, work)
