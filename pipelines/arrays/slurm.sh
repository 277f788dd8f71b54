#!/bin/bash
# Labels {{ "{:,}".format(partitions) }} partitions of {{ folder }}
# in an array job of {{ "{:,}".format(tasks | length) }} tasks: some {{ "%.2g" | format(core_hours) }} core-hours.
# Submit it, and a job that finishes the dataset when the last task has ended, however it ended (for your site, too):
#
{% for line in submit %}
#   {{ line }}
{% endfor %}
#
# Where tasks failed or ran out of time, that job says what is missing. A script of the rest:
#
#   {{ again }} > rest.sh
#
#SBATCH --job-name=mlipq
#SBATCH --array=0-{{ tasks | length - 1 }}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --output="{{ logs | replace("%", "%%") }}/array-%A_%a.log"

# ---- for your site: check these lines, and take away one # of those that you need ----
# The longest task should take {{ longest }} on a core like ours; the rest is slack.
#SBATCH --time={{ walltime }}
#SBATCH --mem-per-cpu={{ gigabytes }}G
##SBATCH --account=ACCOUNT
##SBATCH --partition=PARTITION
# module load python
# --------------------------------------------------------------------------------------

task=${SLURM_ARRAY_TASK_ID:?is set in the tasks of an array job}
{% include "task.sh" %}
