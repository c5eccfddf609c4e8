"""Run by the interpreter of a venv with img2dataset: fetches the images of a table from a server on this machine.

python by_img2dataset.py FOLDER FORMAT TABLE.parquet
"""

import os
import sys

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

from img2dataset import download

if __name__ == "__main__":
    folder, form, table = sys.argv[1:]
    download(
        url_list=table,
        input_format="parquet",
        url_col="url",
        caption_col="caption",
        output_format=form,
        output_folder=folder,
        processes_count=1,
        thread_count=2,
        number_sample_per_shard=10,
        resize_mode="no",
        disable_all_reencoding=True,
        save_additional_columns=["question", "chosen", "rejected"],
        enable_wandb=False,
        distributor="multiprocessing",
    )
