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
#PBS -N mlipq
{% if tasks | length > 1 %}
#PBS -J 0-{{ tasks | length - 1 }}
{% endif %}
#PBS -j oe
#PBS -o {{ logs }}/

# ---- for your site: check these lines, and take away one # of those that you need ----
# The longest task should take {{ longest }} on a core like ours; the rest is slack.
#PBS -l walltime={{ walltime }}
#PBS -l select=1:ncpus=1:mem={{ gigabytes }}gb
##PBS -A ACCOUNT
##PBS -q QUEUE
# module load python
# --------------------------------------------------------------------------------------

task=${PBS_ARRAY_INDEX:-0}
{% include "task.sh" %}
